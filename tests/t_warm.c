/* t_warm - a boot that is kept: the next machine of its kind goes on from there, and any other
 * boots */
#include <fcntl.h>
#include <libfdt.h>
#include <sys/stat.h>
#include <unistd.h>

#include "hutch.h"
#include "kvm_rig.h"
#include "snap_rig.h"
#include "suite.h"

static char path[64];

/* a guest that counts, in 32 MiB */
static struct hutch *handle(const char *memory)
{
	struct hutch *h = hutch_new();
	char kernel[4096];

	ck_assert_ptr_nonnull(h);
	ck_assert_int_eq(hutch_set(h, "kernel", flat_path("count", kernel, sizeof(kernel))), 0);
	ck_assert_int_eq(hutch_set(h, "memory", memory), 0);
	ck_assert_int_eq(hutch_set(h, "console", "none"), 0);
	return h;
}

static void keep(void)
{
	struct hutch *h = handle("32M");
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	ck_assert_int_ge(fd, 0);
	ck_assert_msg(!hutch_start(h) && !hutch_snapshot(h, fd, "boot", 0), "%s", hutch_error(h));
	close(fd);
	hutch_free(h);
}

static void set_up(void)
{
	snprintf(path, sizeof(path), "/tmp/hutch-t_warm.%d", getpid());
	keep();
}

static void tear_down(void)
{
	unlink(path);
}

/* a machine runs in any case; is it the one that was kept? */
static bool goes_on(const char *memory)
{
	struct hutch *h = handle(memory);
	struct hutch_snap snap;
	bool warm;

	hutch_warm(h, path);
	ck_assert_msg(!hutch_start(h), "%s", hutch_error(h));
	warm = hutch_is_warm(h);
	ck_assert_int_eq(hutch_restored(h, &snap), warm ? 0 : -EINVAL);
	if (warm)
		ck_assert_str_eq(snap.label, "boot");
	ck_assert_int_eq(hutch_pause(h), 0); /* it is alive */
	hutch_free(h);
	return warm;
}

START_TEST(test_goes_on)
{
	for (unsigned i = 0; i < 3; i++)
		ck_assert(goes_on("32M"));
	unlink(path);
	ck_assert(!goes_on("32M"));
}
END_TEST

/* it stays for those that are of its kind */
START_TEST(test_another_machine_boots)
{
	ck_assert(!goes_on("64M"));
	ck_assert(goes_on("32M"));
}
END_TEST

static void cut(struct image *image)
{
	image->size -= 100;
}

static void flip(struct image *image)
{
	rig_head(image)->chunks ^= 1;
}

/* all is in order, but no host has such a processor */
static void other_processor(struct image *image)
{
	struct snap_section *s = rig_section(image, SNAP_SECTION_TREE);
	size_t size = s->size + 4096;
	char *tree = malloc(size);
	struct kvm_cpuid_entry2 *e;
	int node, len;

	ck_assert_int_eq(fdt_open_into(image->data + s->at, tree, (int)size), 0);
	node = fdt_path_offset(tree, "/state/cpu@0");
	e = fdt_getprop_w(tree, node, "cpuid", &len);
	ck_assert_ptr_nonnull(e);
	for (unsigned i = 0; i < (unsigned)len / sizeof(*e); i++)
		if (!e[i].function)
			e[i].ebx ^= 0x01010101;
	rig_retree(image, tree, size);
	rig_seal(image);
	free(tree);
}

static const struct {
	void (*lie)(struct image *image);
	bool goes; /* it would be in the way for ever */
} lies[] = { { cut, false }, { flip, false }, { other_processor, true } };

START_TEST(test_one_that_is_of_no_use_boots)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);
	struct image image = rig_of_fd(fd);

	lies[_i].lie(&image);
	ck_assert_int_eq(ftruncate(fd, 0), 0);
	ck_assert_int_eq(pwrite(fd, image.data, image.size, 0), (ssize_t)image.size);
	close(fd);
	image_freep(&image);
	ck_assert(!goes_on("32M"));
	ck_assert_int_eq(access(path, F_OK) != 0, lies[_i].goes);
	keep();
	ck_assert(goes_on("32M"));
}
END_TEST

/* anybody could have put it there */
START_TEST(test_of_somebody_else)
{
	ck_assert_int_eq(chmod(path, 0602), 0);
	ck_assert(!goes_on("32M"));
}
END_TEST

START_TEST(test_nothing)
{
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_checked_fixture(tc, set_up, tear_down);
	tcase_add_test(tc, test_goes_on);
	tcase_add_test(tc, test_another_machine_boots);
	tcase_add_loop_test(tc, test_one_that_is_of_no_use_boots, 0, ARRAY_SIZE(lies));
	tcase_add_test(tc, test_of_somebody_else);
}

int main(int argc, char **argv)
{
	Suite *suite = suite_create("warm");
	TCase *tc = tcase_create("warm");

	(void)argc;
	flat_setup(argv[0]);
	tcase_set_timeout(tc, 60);
	if (flat_possible())
		add_tests(tc);
	else
		tcase_add_test(tc, test_nothing);
	suite_add_tcase(suite, tc);
	return suite_run(suite);
}
