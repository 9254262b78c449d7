/*
 * t_snap_fixture - files of each format that was ever written are read, and go on
 *
 * tests/fixtures/v1.snap and its child were made by
 *
 *	hutch boot --kernel build/tests/kvm/count.elf --memory 4M --cpus 2 --vsock --balloon \
 *		--disk /tmp/hutch-fixture/disk --name fixture --console none
 *	hutch snapshot --label "format 1" --compress zlib:9 fixture v1.snap
 *	hutch snapshot --label "format 1, a child" --parent v1.snap fixture v1-child.snap
 *
 * where the disk has 64 KiB.  They never change: who changes the format keeps reading them, and
 * adds one of the new.
 */
#include <fcntl.h>
#include <limits.h>
#include <unistd.h>

#include "fake.h"
#include "kvm_rig.h"
#include "snap.h"
#include "snap_mem.h"
#include "suite.h"

static const struct {
	const char *name, *label;
	uint32_t crc; /* of all its memory */
} fixtures[] = {
	{ "v1", "format 1", 0x7182a0dc },
	{ "v1-child", "format 1, a child", 0x035c6588 },
};

static char folder[PATH_MAX]; /* with a slash at its end */

static const char *path_of(int i)
{
	static char path[PATH_MAX + 64];

	snprintf(path, sizeof(path), "%s%s.snap", folder, fixtures[i].name);
	return path;
}

static int open_fixture(int i, struct snap_file *f)
{
	int fd = snap_open_path(path_of(i), true);

	ck_assert_msg(fd >= 0 && !snap_open(f, fd, fixtures[i].name) &&
			      !snap_open_parents(f, path_of(i), true),
		      "%s: %s", fixtures[i].name, err_last());
	return fd;
}

/* any host can do this much */
START_TEST(test_read)
{
	static struct conf conf;
	static struct snap_unpacker z;
	static uint8_t chunk[SNAP_CHUNK];
	struct snap_file f;
	struct snap_info info;
	uint32_t crc = 0;
	int fd = open_fixture(_i, &f);

	ck_assert_msg(!snap_check(&f, &info, &conf), "%s", err_last());
	ck_assert_str_eq(info.label, fixtures[_i].label);
	ck_assert_str_eq(conf.name, "fixture");
	ck_assert_uint_eq(conf.memory, 4 * MiB);
	ck_assert_uint_eq(conf.cpus, 2);
	ck_assert_uint_eq(conf.disks, 1);
	ck_assert_uint_eq(info.disk[0].size, 65536);
	ck_assert_uint_eq(conf.vsocks, 1);
	ck_assert_uint_eq(conf.balloons, 1);
	ck_assert_msg(!snap_verify(&f, &conf), "%s", err_last());
	ck_assert_uint_eq(f.head.chunks, 4 * MiB / SNAP_CHUNK);
	ck_assert_int_eq(snap_unpacker_init(&z), 0);
	for (uint64_t n = 0; n < f.head.chunks; n++) {
		memset(chunk, 0, sizeof(chunk));
		ck_assert_msg(!snap_read(&f, n, chunk, sizeof(chunk), &z), "%s", err_last());
		crc = (uint32_t)crc32_z(crc, chunk, sizeof(chunk));
	}
	ck_assert_msg(crc == fixtures[_i].crc, "%s: the memory's sum is %#x", fixtures[_i].name,
		      crc);
	snap_unpacker_free(&z);
	snap_close(&f);
	close(fd);
}
END_TEST

/* what a host may rightly say of a machine that was made on another one */
static bool is_of_the_host(const char *text)
{
	static const char *const texts[] = { "snapshot: its processor", "snapshot: its guest uses",
					     "its XSAVE area" };

	for (unsigned i = 0; i < ARRAY_SIZE(texts); i++)
		if (strstr(text, texts[i]))
			return true;
	return false;
}

START_TEST(test_goes_on)
{
	static const uint8_t zero[65536];
	char key[PATH_MAX + 8], socket[PATH_MAX + 16];
	uint32_t was[2];
	struct flat *f;
	int fd = open(path_of(_i), O_RDONLY | O_CLOEXEC);

	snprintf(key, sizeof(key), "path=%s", fake_file("disk", zero, sizeof(zero)));
	snprintf(socket, sizeof(socket), "path=%s/vsock", fake_folder());
	f = flat_restore(fd, "disk@0", key, "vsock@0", socket, NULL);
	close(fd);
	if (!f) {
		ck_assert_msg(is_of_the_host(err_last()), "%s: %s", fixtures[_i].name, err_last());
		printf("skip %s goes on: %s\n", fixtures[_i].name, err_last());
		return;
	}
	for (unsigned i = 0; i < 2; i++)
		was[i] = *flat_word(f, FLAT_MAILBOX + 4 * i);
	ck_assert_uint_gt(was[0], 1000);
	ck_assert_int_eq(flat_start(f), 0);
	for (unsigned i = 0; i < 2; i++)
		ck_assert(flat_until_set(f, FLAT_MAILBOX + 4 * i));
	for (unsigned ms = 0;
	     *flat_word(f, FLAT_MAILBOX) == was[0] || *flat_word(f, FLAT_MAILBOX + 4) == was[1];
	     ms++) {
		ck_assert_msg(ms < 5000, "a processor stands still");
		usleep(1000);
	}
	*flat_word(f, FLAT_MAILBOX + 128) = 1;
	ck_assert_int_eq(flat_wait(f, 10), VM_POWEROFF);
	ck_assert_str_eq(f->text, "done\n");
	flat_free(f);
	fake_folder_remove();
}
END_TEST

int main(int argc, char **argv)
{
	Suite *suite = suite_create("snap_fixture");
	TCase *tc = tcase_create("snap_fixture");
	const char *slash = strstr(argv[0], "build/");

	(void)argc;
	/* beside the build folder, which is where the tests are run from */
	snprintf(folder, sizeof(folder), "%.*stests/fixtures/", slash ? (int)(slash - argv[0]) : 0,
		 argv[0]);
	flat_setup(argv[0]);
	tcase_add_loop_test(tc, test_read, 0, ARRAY_SIZE(fixtures));
	if (flat_possible())
		tcase_add_loop_test(tc, test_goes_on, 0, ARRAY_SIZE(fixtures));
	suite_add_tcase(suite, tc);
	return suite_run(suite);
}
