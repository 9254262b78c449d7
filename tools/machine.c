/* #syscalls:before prlimit64 openat */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "machine.h"

#define FILES	       4096
#define AGENT_LOG_MAX  (1 << 20) /* bytes */
#define AGENT_LOG_HEAD 256	 /* what a line has beside its text, at most */

int machine_defaults(struct hutch *h, bool box)
{
	static const struct {
		const char *key, *value;
		bool box;
	} defaults[] = {
		{ "jail", "basic", false },
		{ "append", "", true }, /* what suits the kernel: machine_line() */
		{ "console", "none", true },
	};

	for (size_t i = 0; i < sizeof(defaults) / sizeof(*defaults); i++) {
		if ((defaults[i].box && !box) || hutch_origin(h, defaults[i].key))
			continue;
		if (!hutch_set(h, defaults[i].key, defaults[i].value))
			continue;
		complain("%s", hutch_error(h));
		return -1;
	}
	return 0;
}

int machine_guest(struct hutch *h, bool box)
{
	char path[4096];

	if (hutch_get(h, "kernel", path, sizeof(path)))
		return -1;
	if (path[0])
		return 0;
	if (guest_kernel(path, sizeof(path))) {
		complain("kernel: none is given and no default guest is prepared; name one with "
			 "--kernel FILE, or run 'make guest'");
		return -1;
	}
	if (hutch_set(h, "kernel", path)) {
		complain("%s", hutch_error(h));
		return -1;
	}
	if (!(box ? guest_box : guest_initrd)(path, sizeof(path))) {
		if (!hutch_set(h, "initrd", path))
			return 0;
		complain("%s", hutch_error(h));
		return -1;
	}
	if (!box)
		return 0;
	complain("initrd: the default guest has no agent; run 'make guest', or name an initramfs "
		 "that has one with --initrd FILE");
	return -1;
}

/* take a word, or a part of one, out of a line */
static void leave_out(char *line, const char *word)
{
	char *at = strstr(line, word);

	if (at)
		memmove(at, at + strlen(word), strlen(at + strlen(word)) + 1);
}

int machine_line(struct hutch *h)
{
	char line[2048] = "", kernel[4096], transport[8], mode[8];

	if (hutch_get(h, "append", line, sizeof(line)) || line[0] ||
	    hutch_get(h, "kernel", kernel, sizeof(kernel)))
		return 0;
	/* firmware/README.md has what each word of the default guest's buys */
	if (kernel[0] || guest_cmdline(line, sizeof(line)))
		snprintf(line, sizeof(line), "quiet loglevel=1");
	if (hutch_get(h, "transport", transport, sizeof(transport)) || !strcmp(transport, "pci"))
		leave_out(line, "pci=off ");
	/* a guest that talks TCP to the world wants a good congestion control */
	if (!hutch_get(h, "net@0.mode", mode, sizeof(mode)) && !strcmp(mode, "tap"))
		leave_out(line, "cubictcp_register,");
	if (!hutch_set(h, "append", line))
		return 0;
	complain("%s", hutch_error(h));
	return -1;
}

static void on_pause(void *arg, bool paused)
{
	box_paused(arg, paused);
}

static int set_path(struct hutch *h, const struct box *box, const char *key, const char *file)
{
	char path[256];

	if (!rundir_path(box->name, file, path, sizeof(path)) && !hutch_set(h, key, path))
		return 0;
	complain("%s", hutch_error(h));
	return -EINVAL;
}

/* what is said from here on is about this sandbox, and is in its folder too. The machine's threads
 * could not open that file, and it is closed by the end of this process, whose last words it has */
static void log_about(const struct box *box)
{
	hutch_log_about(box->correlation_id, box->name);
	hutch_log_copy(openat(box->dir, "log", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
}

int machine_register(struct hutch *h, struct box *box)
{
	char path[256];
	int r;

	if (hutch_get(h, "name", box->name, sizeof(box->name)) ||
	    hutch_get(h, "correlation_id", box->correlation_id, sizeof(box->correlation_id)))
		return -EINVAL;
	r = box_make(box);
	if (r)
		return r;
	log_about(box);
	hutch_on_pause(h, on_pause, box);
	if (hutch_set(h, "correlation_id", box->correlation_id)) {
		complain("%s", hutch_error(h));
		r = -EINVAL;
	}
	if (!r)
		r = set_path(h, box, "ctl", "ctl");
	/* else there is no vsock, or it has its place */
	if (!r && !hutch_get(h, "vsock@0.path", path, sizeof(path)) && !path[0])
		r = set_path(h, box, "vsock@0.path", "vsock");
	if (r)
		box_end(box);
	return r;
}

/* the guest may say what it likes, and not as much as it likes */
static void on_agent_log(void *arg, enum hutch_level level, const char *text)
{
	struct agent_log *log = arg;

	if (log->said > AGENT_LOG_MAX)
		return;
	log->said += strlen(text) + AGENT_LOG_HEAD;
	if (log->said > AGENT_LOG_MAX)
		box_log(log->box, "agent", HUTCH_LOG_WARNING, "nothing more of it is kept");
	else
		box_log(log->box, "agent", level, "%s", text);
}

void machine_agent_log(struct hutch *h, struct agent_log *log, const struct box *box)
{
	*log = (struct agent_log){ .box = box };
	hutch_on_agent_log(h, on_agent_log, log);
}

void machine_files(void)
{
	struct rlimit files;

	if (getrlimit(RLIMIT_NOFILE, &files) || files.rlim_cur >= FILES)
		return;
	files.rlim_cur = files.rlim_max < FILES ? files.rlim_max : FILES;
	setrlimit(RLIMIT_NOFILE, &files);
}
