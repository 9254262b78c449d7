/* cmd_ps.c - hutch ps: the sandboxes there are */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proc.h"
#include "registry.h"
#include "tool.h"
#include "units.h"

enum { FLAG_ALL, FLAG_JSON, FLAG_QUIET, FLAGS };

static const struct flag flags[] = {
	[FLAG_ALL] = { .name = "all",
		       .letter = 'a',
		       .help = "also those that have ended and are kept" },
	[FLAG_JSON] = { .name = "json",
			.help = "an array of objects: the state, cpu_ms and memory_bytes" },
	[FLAG_QUIET] = { .name = "quiet", .letter = 'q', .help = "print only the names" },
	{ .name = NULL },
};

struct list {
	bool all;
	struct row {
		struct box box;
		struct proc proc;
	} * row;
	size_t n, size;
};

static int collect(struct box *box, void *arg)
{
	struct list *list = arg;
	struct row *more;

	if (box->status == BOX_EXITED && !list->all)
		return 0;
	if (list->n == list->size) {
		list->size = list->size ? 2 * list->size : 64;
		more = realloc(list->row, list->size * sizeof(*more));
		if (!more) {
			complain("out of memory");
			return -ENOMEM;
		}
		list->row = more;
	}
	list->row[list->n].box = *box;
	list->row[list->n].proc = (struct proc){ .threads = 0 };
	if (box->status != BOX_EXITED)
		proc_read(box->pid, &list->row[list->n].proc);
	list->n++;
	return 0;
}

static int by_age(const void *a, const void *b)
{
	const struct box *x = &((const struct row *)a)->box, *y = &((const struct row *)b)->box;

	if (x->created_ms != y->created_ms)
		return x->created_ms < y->created_ms ? -1 : 1;
	return strcmp(x->name, y->name);
}

/* a command may hold anything, and a terminal would obey some of it */
static void print_clean(const char *text)
{
	for (; *text; text++)
		putchar(iscntrl((unsigned char)*text) ? '?' : *text);
}

static void print_row(const struct row *row)
{
	const struct box *box = &row->box;
	char status[32], age[24], cpu[24] = "-", mem[24] = "-", pid[16] = "-";
	uint64_t now = realtime_ms();

	if (box->status == BOX_EXITED) {
		snprintf(status, sizeof(status), "exited (%d)", box->exit_code);
	} else {
		snprintf(status, sizeof(status), "%s", box_status_names[box->status]);
		snprintf(pid, sizeof(pid), "%d", box->pid);
		snprintf(cpu, sizeof(cpu), "%lums", (unsigned long)row->proc.cpu_ms);
		snprintf(mem, sizeof(mem), "%luM", (unsigned long)(row->proc.rss >> 20));
	}
	duration_print(now > box->created_ms ? now - box->created_ms : 0, age, sizeof(age));
	printf("%-16s %.12s %-12s %-8s %-6s %-9s %-7s ", box->name, box->id, status, pid, age, cpu,
	       mem);
	print_clean(box->command);
	putchar('\n');
}

static void print_json(const struct list *list)
{
	char more[80];

	putchar('[');
	for (size_t i = 0; i < list->n; i++) {
		fputs(i ? ",\n " : "\n ", stdout);
		snprintf(more, sizeof(more), ",\"cpu_ms\":%lu,\"memory_bytes\":%lu",
			 (unsigned long)list->row[i].proc.cpu_ms,
			 (unsigned long)list->row[i].proc.rss);
		box_json(stdout, &list->row[i].box, more);
	}
	puts(list->n ? "\n]" : "]");
}

static void print_table(const struct list *list)
{
	if (!globals.quiet)
		printf("%-16s %-12s %-12s %-8s %-6s %-9s %-7s %s\n", "NAME", "ID", "STATUS", "PID",
		       "AGE", "CPU", "MEM", "COMMAND");
	for (size_t i = 0; i < list->n; i++)
		if (globals.quiet)
			puts(list->row[i].box.name);
		else
			print_row(&list->row[i]);
}

static int run_ps(int argc, char **argv, const struct verb *verb)
{
	struct given given[FLAGS] = { 0 };
	int n = parse_names(argc, argv, verb, given, 0, 0);
	struct list list = { .all = given[FLAG_ALL].n };

	if (n < 0)
		return n == -2 ? 0 : EXIT_USAGE;
	if (box_each(collect, &list)) {
		free(list.row);
		return EXIT_HUTCH;
	}
	if (list.n)
		qsort(list.row, list.n, sizeof(*list.row), by_age);
	if (globals.json)
		print_json(&list);
	else
		print_table(&list);
	free(list.row);
	return 0;
}

const struct verb verb_ps = {
	.name = "ps",
	.args = "[FLAGS]",
	.summary = "list the sandboxes that run",
	.text = "CPU is the processor time that the sandbox's process has used, guest and all;\n"
		"MEM is how much memory it holds now. What a killed sandbox left behind is swept,\n"
		"not listed.",
	.flags = flags,
	.run = run_ps,
};
