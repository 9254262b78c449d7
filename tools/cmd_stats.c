/* cmd_stats.c - hutch stats: what sandboxes use */
/* #syscalls:before clock_nanosleep */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "counters.h"
#include "proc.h"
#include "registry.h"
#include "tool.h"
#include "units.h"

#define ANSWER	     2000 /* ms in which a machine tells its counters */
#define INTERVAL_MIN 100

enum { FLAG_INTERVAL, FLAG_JSON, FLAG_PROM, FLAGS };

static const struct flag flags[] = {
	[FLAG_INTERVAL] = { .name = "interval",
			    .arg = "DURATION",
			    .help = "print again and again, until the sandboxes have ended" },
	[FLAG_JSON] = { .name = "json",
			.help = "an object a line and sandbox, with every counter of its devices" },
	[FLAG_PROM] = { .name = "prom", .help = "print Prometheus' text format" },
	{ .name = NULL },
};

/* what one sandbox uses now */
struct usage {
	struct box box;
	struct proc proc;
	uint64_t at_ms;
	struct counters counters;
};

struct report {
	struct box *box; /* those that are named */
	int n;		 /* 0: all that run */
	bool prom;
	struct usage *usage;
	unsigned used, size;
	struct last {
		char id[33];
		uint64_t cpu_ms, at_ms;
	} * last; /* of the time before */
	unsigned lasts;
};

static int measure(struct box *box, void *arg)
{
	struct report *r = arg;
	struct usage *u, *more;
	void *tree = NULL;
	long size;

	if (!box->alive || box->status == BOX_EXITED)
		return 0;
	if (r->used == r->size) {
		r->size = r->size ? 2 * r->size : 16;
		more = realloc(r->usage, r->size * sizeof(*more));
		if (!more) {
			complain("out of memory");
			return -ENOMEM;
		}
		r->usage = more;
	}
	u = &r->usage[r->used];
	*u = (struct usage){ .box = *box, .at_ms = realtime_ms() };
	if (proc_read(box->pid, &u->proc))
		return 0; /* it has just ended */
	size = client_ask_box(box, "counters", ANSWER, true, &tree);
	counters_read(&u->counters, tree, size);
	free(tree);
	r->used++;
	return 0;
}

/* percent of one processor since the time before, -1 if there was none */
static int cpu_percent(const struct report *r, const struct usage *u)
{
	for (unsigned i = 0; i < r->lasts; i++) {
		const struct last *l = &r->last[i];

		if (!strcmp(l->id, u->box.id) && u->at_ms > l->at_ms && u->proc.cpu_ms >= l->cpu_ms)
			return (int)((u->proc.cpu_ms - l->cpu_ms) * 100 / (u->at_ms - l->at_ms));
	}
	return -1;
}

/* what the virtual CPUs get of one, 0: as much as they like */
static unsigned long cpu_limit(const struct usage *u)
{
	return counters_sum(&u->counters, "vcpus", "cpu_percent");
}

static int remember(struct report *r)
{
	struct last *last = calloc(r->used + 1, sizeof(*last));

	if (!last)
		return -ENOMEM;
	for (unsigned i = 0; i < r->used; i++) {
		strcpy(last[i].id, r->usage[i].box.id);
		last[i].cpu_ms = r->usage[i].proc.cpu_ms;
		last[i].at_ms = r->usage[i].at_ms;
	}
	free(r->last);
	r->last = last;
	r->lasts = r->used;
	return 0;
}

static const char *amount(uint64_t v, char buf[24])
{
	static const char units[] = "BKMGT";
	unsigned u = 0;

	for (; v >= 10240 && u < 4; u++)
		v /= 1024;
	snprintf(buf, 24, "%lu%c", (unsigned long)v, units[u]);
	return buf;
}

static void print_line(const struct report *r, const struct usage *u)
{
	char cpu[24], percent[16] = "-", most[24] = "-", mem[24], rd[24], wr[24], rx[24], tx[24];
	int p = cpu_percent(r, u);

	snprintf(cpu, sizeof(cpu), "%lums", (unsigned long)u->proc.cpu_ms);
	if (p >= 0)
		snprintf(percent, sizeof(percent), "%d%%", p);
	if (cpu_limit(u))
		snprintf(most, sizeof(most), "%lu%%", cpu_limit(u));
	printf("%-16s %-10s %-10s %5s %5s %6s %7u %9s %9s %9s %9s\n", u->box.name,
	       box_status_names[u->box.status], cpu, percent, most, amount(u->proc.rss, mem),
	       u->proc.threads, amount(counters_sum(&u->counters, "blk", "bytes_read"), rd),
	       amount(counters_sum(&u->counters, "blk", "bytes_written"), wr),
	       amount(counters_sum(&u->counters, "net", "rx_bytes"), rx),
	       amount(counters_sum(&u->counters, "net", "tx_bytes"), tx));
}

static void print_table(const struct report *r)
{
	if (!globals.quiet)
		printf("%-16s %-10s %-10s %5s %5s %6s %7s %9s %9s %9s %9s\n", "NAME", "STATUS",
		       "CPU", "CPU%", "MOST", "MEM", "THREADS", "DISK-READ", "DISK-WRIT", "NET-RX",
		       "NET-TX");
	for (unsigned i = 0; i < r->used; i++)
		print_line(r, &r->usage[i]);
}

static void print_json(const struct report *r)
{
	for (unsigned i = 0; i < r->used; i++) {
		const struct usage *u = &r->usage[i];
		const char *device = "";
		int p = cpu_percent(r, u);

		printf("{\"time_ms\":%lu,\"name\":\"%s\",\"id\":\"%s\",\"status\":\"%s\","
		       "\"cpu_ms\":%lu,\"cpu_limit_percent\":%lu,\"memory_bytes\":%lu,"
		       "\"threads\":%u",
		       (unsigned long)u->at_ms, u->box.name, u->box.id,
		       box_status_names[u->box.status], (unsigned long)u->proc.cpu_ms, cpu_limit(u),
		       (unsigned long)u->proc.rss, u->proc.threads);
		if (p >= 0)
			printf(",\"cpu_percent\":%d", p);
		fputs(",\"devices\":{", stdout);
		for (unsigned k = 0; k < u->counters.n; k++) {
			const struct counter *c = &u->counters.all[k];

			if (strcmp(device, c->device))
				printf("%s\"%s\":{", *device ? "}," : "", c->device);
			else
				putchar(',');
			printf("\"%s\":%lu", c->name, (unsigned long)c->value);
			device = c->device;
		}
		puts(*device ? "}}}" : "}}");
	}
}

static void prom_head(const char *metric, const char *type, const char *help)
{
	printf("# HELP %s %s\n# TYPE %s %s\n", metric, help, metric, type);
}

/* the lines of a metric stand together, as its readers want them */
static void print_prom(const struct report *r)
{
	const struct usage *u, *end = r->usage + r->used;

	prom_head("hutch_cpu_seconds_total", "counter",
		  "Processor time of the sandbox's process, guest and host side.");
	for (u = r->usage; u < end; u++)
		printf("hutch_cpu_seconds_total{name=\"%s\",id=\"%s\"} %lu.%03u\n", u->box.name,
		       u->box.id, (unsigned long)(u->proc.cpu_ms / 1000),
		       (unsigned)(u->proc.cpu_ms % 1000));
	prom_head("hutch_cpu_limit_percent", "gauge",
		  "Most of a processor that the virtual CPUs get; 0 is no limit.");
	for (u = r->usage; u < end; u++)
		printf("hutch_cpu_limit_percent{name=\"%s\",id=\"%s\"} %lu\n", u->box.name,
		       u->box.id, cpu_limit(u));
	prom_head("hutch_memory_bytes", "gauge", "Resident memory of the sandbox's process.");
	for (u = r->usage; u < end; u++)
		printf("hutch_memory_bytes{name=\"%s\",id=\"%s\"} %lu\n", u->box.name, u->box.id,
		       (unsigned long)u->proc.rss);
	prom_head("hutch_threads", "gauge", "Threads of the sandbox's process.");
	for (u = r->usage; u < end; u++)
		printf("hutch_threads{name=\"%s\",id=\"%s\"} %u\n", u->box.name, u->box.id,
		       u->proc.threads);
	prom_head("hutch_paused", "gauge", "1 while the sandbox is paused.");
	for (u = r->usage; u < end; u++)
		printf("hutch_paused{name=\"%s\",id=\"%s\"} %d\n", u->box.name, u->box.id,
		       u->box.status == BOX_PAUSED);
	prom_head("hutch_start_time_seconds", "gauge", "When the sandbox was made.");
	for (u = r->usage; u < end; u++)
		printf("hutch_start_time_seconds{name=\"%s\",id=\"%s\"} %lu.%03u\n", u->box.name,
		       u->box.id, (unsigned long)(u->box.created_ms / 1000),
		       (unsigned)(u->box.created_ms % 1000));
	prom_head("hutch_device_total", "counter", "A counter of one of the sandbox's devices.");
	for (u = r->usage; u < end; u++)
		for (unsigned k = 0; k < u->counters.n; k++)
			printf("hutch_device_total{name=\"%s\",id=\"%s\",device=\"%s\","
			       "counter=\"%s\"} %lu\n",
			       u->box.name, u->box.id, u->counters.all[k].device,
			       u->counters.all[k].name, (unsigned long)u->counters.all[k].value);
}

/* those that are named, and live still */
static int measure_all(struct report *r)
{
	int e = 0;

	r->used = 0;
	if (!r->n)
		return box_each(measure, r);
	for (int i = 0; !e && i < r->n; i++)
		if (!box_reload(&r->box[i]))
			e = measure(&r->box[i], r);
	return e;
}

static int print(const struct report *r)
{
	if (r->prom)
		print_prom(r);
	else if (globals.json)
		print_json(r);
	else
		print_table(r);
	return fflush(stdout) ? -errno : 0;
}

static int stats(struct report *r, uint64_t interval)
{
	const struct timespec pause = { (time_t)(interval / 1000),
					(long)(interval % 1000) * 1000000 };
	int e = measure_all(r);

	if (e)
		return EXIT_HUTCH;
	while (!(e = print(r)) && interval && r->used && !(e = remember(r))) {
		nanosleep(&pause, NULL);
		if (measure_all(r) || !r->used)
			break;
	}
	return e ? EXIT_HUTCH : 0;
}

/* the sandboxes that are named, each of which must live */
static int open_named(struct report *r, char **names)
{
	r->box = calloc((size_t)r->n + 1, sizeof(*r->box));
	if (!r->box) {
		complain("out of memory");
		return EXIT_HUTCH;
	}
	for (int i = 0; i < r->n; i++)
		r->box[i].root = r->box[i].dir = r->box[i].lock = -1;
	for (int i = 0; i < r->n; i++) {
		if (box_open(names[i], &r->box[i]))
			return EXIT_FAIL;
		if (r->box[i].alive && r->box[i].status != BOX_EXITED)
			continue;
		complain("sandbox '%s' has ended", r->box[i].name);
		return EXIT_FAIL;
	}
	return 0;
}

static int run_stats(int argc, char **argv, const struct verb *verb)
{
	struct given given[FLAGS] = { 0 };
	int n = parse_names(argc, argv, verb, given, 0, -1), status;
	struct report r = { .n = n, .prom = given[FLAG_PROM].n };
	uint64_t interval = 0;

	if (n < 0)
		return n == -2 ? 0 : EXIT_USAGE;
	if (given[FLAG_INTERVAL].n &&
	    duration_parse("--interval", given[FLAG_INTERVAL].text, &interval))
		return EXIT_USAGE;
	if (given[FLAG_INTERVAL].n && interval < INTERVAL_MIN) {
		complain("--interval: '%s' is too short; 100ms is the least",
			 given[FLAG_INTERVAL].text);
		return EXIT_USAGE;
	}
	if (given[FLAG_PROM].n && globals.json) {
		complain("stats: --json and --prom exclude each other");
		return EXIT_USAGE;
	}
	status = open_named(&r, argv);
	if (!status)
		status = stats(&r, interval);
	for (int i = 0; r.box && i < n; i++)
		box_close(&r.box[i]);
	free(r.box);
	free(r.usage);
	free(r.last);
	return status;
}

const struct verb verb_stats = {
	.name = "stats",
	.args = "[FLAGS] [NAME...]",
	.summary = "print what sandboxes use, all that run unless some are named",
	.text = "CPU        processor time of the sandbox's process so far, guest and host side\n"
		"CPU%       share of one processor since the line before, with --interval\n"
		"MOST       of one processor that its virtual CPUs get (--cpu-percent)\n"
		"MEM        memory that the process holds now, the guest's included\n"
		"THREADS    of the process: one a virtual CPU, the loop, and workers of disks\n"
		"DISK-READ, DISK-WRIT   bytes that the guest has read from and written to disks\n"
		"NET-RX, NET-TX         bytes that the guest has received and sent",
	.flags = flags,
	.run = run_stats,
};
