/*
 * fuzz_archive - any archive, unpacked into a folder beside which nothing may change
 *
 * The first byte chooses what the unpacker may do.  With its top bit what follows
 * is the archive as it is, else each byte is a record with the bytes behind it as
 * operands, few names and targets among which are those that lead elsewhere: so
 * most of it gets past the first check, and the same name comes up often.
 */
#include <fcntl.h>
#include <unistd.h>

#include "archive_rig.h"
#include "fake.h"
#include "fuzz_input.h"

static const char *const names[] = { "a", "b", "in", "there", "secret", "..", "", "a/b" };
static const char *const links[] = { "a",     "b",  "../secret", "../out",   "a/b",
				     "there", "in", "in/a",	 "../../..", "/" };
static char *before;
/* libFuzzer writes to where it was started: so these are whole paths */
static char top[256], secret[300], out[300], in_out[300], target[300], there[300];

/* the secret's time of change tells of a link to it, the folder's of a name in it */
static char *outside(void)
{
	char *state = rig_state(out, true), *all = NULL;
	struct stat st, here;

	require(rig_is(secret, "keep me") && !stat(secret, &st) && !stat(top, &here));
	require(asprintf(&all, "%s %ld.%ld %lu %ld.%ld", state, st.st_ctim.tv_sec,
			 st.st_ctim.tv_nsec, st.st_nlink, here.st_mtim.tv_sec,
			 here.st_mtim.tv_nsec) > 0);
	free(state);
	return all;
}

static void prepare(void)
{
	int here = before ? -1 : open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (!before) {
		require(!atexit(rig_done));
		rig_begin(false);
		require(getcwd(top, sizeof(top)) && !fchdir(here) && !close(here));
		snprintf(secret, sizeof(secret), "%s/secret", top);
		snprintf(out, sizeof(out), "%s/out", top);
		snprintf(in_out, sizeof(in_out), "%s/out/file", top);
		snprintf(target, sizeof(target), "%s/in", top);
		snprintf(there, sizeof(there), "%s/in/there", top);
		rig_file(secret, "keep me");
		rig_dir(out);
		rig_file(in_out, "keep me");
	} else {
		rig_remove(target);
		free(before);
	}
	rig_dir(target);
	require(!symlink("../out", there));
	before = outside();
}

static void add_entry(struct made *m, struct input *in, uint32_t mode)
{
	uint8_t how = byte(in);
	const char *name = names[how % ARRAY_SIZE(names)];
	bool link = S_ISLNK(mode) || !mode;

	made_entry(m, mode, m->end.entries ? name : "",
		   link ? links[how / 8U % ARRAY_SIZE(links)] : "");
}

static void add(struct made *m, struct input *in)
{
	static const char text[] = "some text that is to be in a file";
	uint8_t op = byte(in);

	switch (op % 16) {
	case 0:
	case 1:
		add_entry(m, in, S_IFDIR | 0755);
		return;
	case 2:
	case 3:
		add_entry(m, in, S_IFLNK | 0777);
		return;
	case 4:
		add_entry(m, in, 0);
		return;
	case 5:
	case 6:
	case 7: /* a whole file */
		add_entry(m, in, S_IFREG | (op & 16 ? 06755 : 0600));
		made_data(m, 0, text + op / 32);
		made_file_end(m, strlen(text + op / 32) + (op & 16));
		return;
	case 8:
		add_entry(m, in, S_IFREG | 0644);
		return;
	case 9:
		made_data(m, number(in), text + byte(in) % 16);
		return;
	case 10:
		made_file_end(m, number(in));
		return;
	case 11:
	case 12:
		made_leave(m);
		return;
	case 13:
		add_entry(m, in,
			  op & 16   ? S_IFIFO | 0600
			  : op & 32 ? S_IFSOCK
				    : (uint32_t)number(in));
		return;
	case 14:
		made_record(m, op & 16 ? ARCHIVE_NOTE : ARCHIVE_ABORT, in->p, MIN(in->left, 40U));
		return;
	case 15:
		made_any(m, op & 16 ? ARCHIVE_ENTRY : ARCHIVE_LINK,
			 (struct archive_entry){ .mode = (uint32_t)number(in),
						 .name_len = byte(in) % 3,
						 .xattr_len = byte(in) % 2 },
			 "ab", links[byte(in) % ARRAY_SIZE(links)]);
		return;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, size };
	uint8_t how = byte(&in);
	/* no device nodes: what is made as root must not be in the way of others */
	struct archive_opts o = { .flags = how & (ARCHIVE_CONTINUE | ARCHIVE_XATTRS) };
	struct archive_report report;
	struct made m = { .data = NULL };
	char *after;

	prepare();
	if (how & 4)
		o.flags |= ARCHIVE_FIFOS | ARCHIVE_SETID;
	if (how & 8)
		o.source = how & 16 ? "/x/a" : "/x/.";
	if (how & 128) {
		m = (struct made){ .data = malloc(in.left + 1), .len = in.left };
		memcpy(m.data, in.p, in.left);
	} else {
		made_head(&m, how & 32 ? names[how / 32 % 4] : "");
		add_entry(&m, &in, how & 64 ? S_IFREG | 0644 : S_IFDIR | 0755);
		for (unsigned n = 0; in.left && n < 60; n++)
			add(&m, &in);
		made_end(&m);
	}
	require(!rig_unpack(&m, target, &o, &report) == !report.error);
	made_free(&m);
	after = outside();
	require(!strcmp(before, after));
	free(after);
	return 0;
}
