/* t_state - structs to a tree and back: what is refused, by name; what the checker of tables finds
 */
#include <libfdt.h>

#include "fake.h"
#include "state.h"
#include "suite.h"

#define TREE 65536

static const char *const modes[] = { "off", "on", "auto", NULL };

struct item {
	uint32_t a;
	uint32_t b;
};

struct thing {
	uint64_t big;
	uint32_t mode;
	uint32_t used;
	uint16_t half;
	uint8_t small;
	bool flag;
	uint32_t blob_len;
	uint8_t bytes[12];
	uint8_t blob[20];
	struct item pair[2];
	struct item list[3];
	struct item one;
};

static const struct field item_fields[] = {
	F_UINT(struct item, a),
	F_RANGE(struct item, b, 0, 9),
	F_END,
};

static const struct field fields[] = {
	F_UINT(struct thing, big),
	F_ENUM(struct thing, mode, modes),
	F_UINT(struct thing, used),
	F_RANGE(struct thing, half, 1, 1000),
	F_UINT(struct thing, small),
	F_BOOL(struct thing, flag),
	F_UINT(struct thing, blob_len),
	F_BYTES(struct thing, bytes),
	F_BLOB(struct thing, blob, blob_len),
	F_ARRAY(struct thing, pair, item_fields),
	F_LIST(struct thing, list, used, item_fields),
	F_STRUCT(struct thing, one, item_fields),
	F_END,
};

static _Alignas(8) char tree[TREE];
static const struct thing good = {
	.big = 0x1122334455667788,
	.mode = 2,
	.used = 2,
	.half = 77,
	.small = 255,
	.flag = true,
	.blob_len = 5,
	.bytes = "hello world",
	.blob = "blob",
	.pair = { { 1, 2 }, { 3, 4 } },
	.list = { { 5, 6 }, { 7, 8 } },
	.one = { UINT32_MAX, 9 },
};

static void save(const struct field *table, const void *obj)
{
	ck_assert_int_eq(tree_begin(tree, TREE), 0);
	ck_assert_int_eq(state_save(tree, table, obj), 0);
	ck_assert_int_gt(tree_end(tree), 0);
	ck_assert_int_eq(fdt_check_full(tree, TREE), 0);
	ck_assert_int_eq(fdt_open_into(tree, tree, TREE), 0); /* room for changes */
}

static void refused(int r, const char *what)
{
	struct thing back = { 0 };

	err_clear();
	ck_assert_msg(state_load(tree, 0, fields, &back) == r, "taken, or not %d: %s", r,
		      err_last());
	ck_assert_msg(strstr(err_last(), what) != NULL, "no '%s' in: %s", what, err_last());
	save(fields, &good);
}

START_TEST(round_trip)
{
	struct thing back = { 0 };

	save(fields, &good);
	ck_assert_int_eq(state_load(tree, 0, fields, &back), 0);
	ck_assert_mem_eq(&good, &back, sizeof(good));
}
END_TEST

/* the encoding others read: cells, names of enums, strings that are never 4 or 8 bytes */
START_TEST(encoding)
{
	int len;

	save(fields, &good);
	ck_assert_uint_eq(fdt64_ld(fdt_getprop(tree, 0, "big", &len)), good.big);
	ck_assert_int_eq(len, 8);
	ck_assert_uint_eq(fdt32_ld(fdt_getprop(tree, 0, "half", &len)), 77);
	ck_assert_int_eq(len, 4);
	ck_assert_str_eq(fdt_getprop(tree, 0, "mode", &len), "auto");
	ck_assert_int_eq(len, 5);
	fdt_getprop(tree, 0, "blob", &len);
	ck_assert_int_eq(len, 5);
	ck_assert_int_gt(fdt_path_offset(tree, "/pair@1"), 0);
	ck_assert_int_gt(fdt_path_offset(tree, "/list@1"), 0);
	ck_assert_int_lt(fdt_path_offset(tree, "/list@2"), 0);
	ck_assert_int_gt(fdt_path_offset(tree, "/one"), 0);
}
END_TEST

START_TEST(numbers_out_of_range)
{
	save(fields, &good);
	fdt_setprop_u32(tree, 0, "half", 0);
	refused(-ERANGE, "half");
	fdt_setprop_u32(tree, 0, "half", 1001);
	refused(-ERANGE, "half");
	fdt_setprop_u32(tree, 0, "small", 256); /* would be cut off */
	refused(-ERANGE, "small");
	fdt_setprop_u32(tree, 0, "small", UINT32_MAX);
	refused(-ERANGE, "small");
	fdt_setprop_u32(tree, 0, "flag", 2);
	refused(-ERANGE, "flag");
	fdt_setprop_u32(tree, fdt_path_offset(tree, "/list@1"), "b", 10);
	refused(-ERANGE, "b");
	fdt_setprop_u64(tree, 0, "half", 77);
	refused(-EINVAL, "half");
	fdt_setprop_u32(tree, 0, "big", 77);
	refused(-EINVAL, "big");
	fdt_setprop(tree, 0, "big", NULL, 0);
	refused(-EINVAL, "big");
}
END_TEST

START_TEST(words_and_bytes)
{
	save(fields, &good);
	fdt_setprop_string(tree, 0, "mode", "sometimes");
	refused(-EINVAL, "sometimes");
	fdt_setprop(tree, 0, "mode", "auto", 4); /* no NUL */
	refused(-EINVAL, "mode");
	fdt_setprop(tree, 0, "mode", NULL, 0);
	refused(-EINVAL, "mode");
	fdt_setprop(tree, 0, "bytes", good.bytes, 11);
	refused(-EINVAL, "bytes");
	fdt_setprop(tree, 0, "bytes", good.bytes, 13);
	refused(-EINVAL, "bytes");
	fdt_setprop(tree, 0, "blob", tree, 21);
	refused(-EINVAL, "blob");
	fdt_setprop(tree, 0, "blob", tree, 20);
	ck_assert_int_eq(state_load(tree, 0, fields, &(struct thing){ 0 }), 0);
}
END_TEST

START_TEST(missing_and_unknown)
{
	save(fields, &good);
	fdt_delprop(tree, 0, "half");
	refused(-EINVAL, "half: is missing");
	fdt_delprop(tree, 0, "blob");
	refused(-EINVAL, "blob: is missing");
	fdt_delprop(tree, 0, "big");
	refused(-EINVAL, "big: is missing");
	fdt_appendprop_u32(tree, 0, "newer", 1);
	refused(-EINVAL, "newer");
	fdt_appendprop_u32(tree, fdt_path_offset(tree, "/one"), "newer", 1);
	refused(-EINVAL, "newer");
	fdt_del_node(tree, fdt_path_offset(tree, "/pair@1"));
	refused(-EINVAL, "pair@1");
	fdt_del_node(tree, fdt_path_offset(tree, "/one"));
	refused(-EINVAL, "one");
}
END_TEST

/* the last comes first, because a new node stands before the others */
static const char *const nodes[] = { "one",    "list@3", "list@2", "list@1",
				     "list@0", "pair@1", "pair@0" };

static void add_node(int parent, const char *name)
{
	int node = fdt_add_subnode(tree, parent, name);

	ck_assert_int_gt(node, 0);
	/* so does a new property */
	fdt_setprop_u32(tree, node, "b", 1);
	fdt_setprop_u32(tree, node, "a", 1);
}

START_TEST(lists)
{
	struct thing back = { 0 };

	save(fields, &good);
	fdt_del_node(tree, fdt_path_offset(tree, "/list@1"));
	ck_assert_int_eq(state_load(tree, 0, fields, &back), 0);
	ck_assert_uint_eq(back.used, 1);
	save(fields, &good);
	for (unsigned i = 0; i < ARRAY_SIZE(nodes); i++)
		fdt_del_node(tree, fdt_subnode_offset(tree, 0, nodes[i]));
	for (unsigned i = 0; i < ARRAY_SIZE(nodes); i++)
		add_node(0, nodes[i]);
	refused(-EINVAL, "list: more than 3");
}
END_TEST

/* a node that a newer table has, that is there twice, or that stands where none should */
START_TEST(unknown_nodes)
{
	struct thing back = { 0 };

	save(fields, &good);
	add_node(fdt_path_offset(tree, "/pair@1"), "newer");
	refused(-EINVAL, "newer: unknown node");
	add_node(fdt_path_offset(tree, "/one"), "pair@0");
	refused(-EINVAL, "pair@0: unknown node");
	add_node(0, "newer");
	refused(-EINVAL, "pair@0: no such node (found newer)");
	fdt_del_node(tree, fdt_path_offset(tree, "/list@0"));
	refused(-EINVAL, "one: no such node (found list@1)");
	/* but what stands behind the root's own is another table's */
	for (unsigned i = 0; i < ARRAY_SIZE(nodes); i++)
		fdt_del_node(tree, fdt_subnode_offset(tree, 0, nodes[i]));
	add_node(0, "newer");
	for (unsigned i = 0; i < ARRAY_SIZE(nodes); i++)
		if (strcmp(nodes[i], "list@3"))
			add_node(0, nodes[i]);
	ck_assert_int_eq(state_load(tree, 0, fields, &back), 0);
	ck_assert_uint_eq(back.used, 3);
}
END_TEST

/* an older image lacks a field that is new: its default is taken, wherever it stands */
START_TEST(older_images)
{
	static const struct field old[] = {
		F_UINT(struct item, a),
		F_END,
	};
	static const struct field new[] = {
		F_UINT(struct item, a),
		F_UINT(struct item, b, .dflt = "7"),
		F_END,
	};
	static const struct field newer[] = {
		F_UINT(struct item, b, .dflt = "8"),
		F_UINT(struct item, a),
		F_END,
	};
	struct item i = { 5, 6 };

	save(old, &i);
	ck_assert_int_eq(state_load(tree, 0, new, &i), 0);
	ck_assert_uint_eq(i.b, 7);
	ck_assert_int_eq(state_load(tree, 0, newer, &i), 0);
	ck_assert_uint_eq(i.b, 8);
	ck_assert_uint_eq(i.a, 5);
	/* and the other way round it is unknown */
	save(new, &i);
	ck_assert_int_eq(state_load(tree, 0, old, &i), -EINVAL);
	ck_assert_ptr_nonnull(strstr(err_last(), "b: unknown"));
}
END_TEST

START_TEST(no_room)
{
	char small[300];
	int r = tree_begin(small, sizeof(small));

	if (!r)
		r = state_save(small, fields, &good);
	ck_assert_int_eq(r, -ENOSPC);
}
END_TEST

/* --- the checker of tables --- */

struct gap {
	uint32_t a;
	uint32_t b;
	uint64_t c;
};

START_TEST(tables_with_faults)
{
	static const struct field whole[] = { F_UINT(struct gap, a), F_UINT(struct gap, b),
					      F_UINT(struct gap, c), F_END };
	static const struct field hole[] = { F_UINT(struct gap, a), F_UINT(struct gap, c), F_END };
	static const struct field twice[] = { F_UINT(struct gap, a), F_UINT(struct gap, a),
					      F_UINT(struct gap, b), F_UINT(struct gap, c), F_END };
	static const struct field early[] = { F_UINT(struct gap, a), F_UINT(struct gap, b), F_END };
	static const struct field order[] = { F_UINT(struct gap, b), F_UINT(struct gap, a),
					      F_UINT(struct gap, c), F_END };

	ck_assert_int_eq(state_check(whole, sizeof(struct gap)), 0);
	ck_assert_int_eq(state_check(hole, sizeof(struct gap)), -EINVAL);
	ck_assert_ptr_nonnull(strstr(err_last(), "c: is at byte 8, expected at 4"));
	ck_assert_int_eq(state_check(twice, sizeof(struct gap)), -EINVAL);
	ck_assert_int_eq(state_check(early, sizeof(struct gap)), -EINVAL);
	ck_assert_ptr_nonnull(strstr(err_last(), "8 of 16"));
	ck_assert_int_eq(state_check(order, sizeof(struct gap)), -EINVAL);
	ck_assert_int_eq(state_check(fields, sizeof(struct thing)), 0);
}
END_TEST

START_TEST(tables_within_tables)
{
	static const struct field half[] = { F_UINT(struct item, a), F_END };
	static const struct field table[] = { F_ARRAY(struct thing, pair, half), F_END };
	struct field at_0[2];

	memcpy(at_0, table, sizeof(at_0));
	at_0[0].off = 0;
	ck_assert_int_eq(state_check(at_0, 16), -EINVAL);
	at_0[0].sub = item_fields;
	ck_assert_int_eq(state_check(at_0, 16), 0);
}
END_TEST

/* --- for people --- */

START_TEST(printed)
{
	char *text = NULL;
	size_t len;
	FILE *out;

	save(fields, &good);
	for (unsigned json = 0; json < 2; json++) {
		out = open_memstream(&text, &len);
		tree_print(tree, out, json);
		fclose(out);
		if (json) {
			ck_assert_int_eq(text[0], '{');
			ck_assert_ptr_nonnull(strstr(text, "\"big\":1234605616436508552"));
			ck_assert_ptr_nonnull(strstr(text, "\"mode\":\"auto\""));
			ck_assert_ptr_nonnull(strstr(text, "\"list@1\":{\"a\":7,\"b\":8}"));
			ck_assert_ptr_nonnull(strstr(text, "}}\n"));
		} else {
			ck_assert_ptr_nonnull(strstr(text, "big = 0x1122334455667788\n"));
			ck_assert_ptr_nonnull(strstr(text, "list@1 {\n  a = 0x7\n"));
		}
		free(text);
	}
}
END_TEST

/* what a hostile tree holds is nothing to a terminal, and JSON stays JSON */
START_TEST(printed_hostile)
{
	char *text = NULL;
	size_t len;
	FILE *out;

	for (unsigned json = 0; json < 2; json++) {
		save(fields, &good);
		ck_assert_int_gt(fdt_add_subnode(tree, 0, "n\033[2J\"\\"), 0);
		fdt_setprop_string(tree, 0, "p\033]0;\n\"", "value");
		fdt_setprop_string(tree, 0, "a", "\033[31mred");
		fdt_setprop_string(tree, 0, "b", "one \xc2\x9b control");
		fdt_setprop_string(tree, 0, "c", "no \xff UTF-8");
		fdt_setprop_string(tree, 0, "d", "\xc3\xbc, a \" and a \\");
		out = open_memstream(&text, &len);
		tree_print(tree, out, json);
		fclose(out);
		for (size_t i = 0; i < len; i++)
			ck_assert_msg(text[i] == '\n' || (unsigned char)text[i] >= 0x20,
				      "byte %#x is printed", text[i]);
		ck_assert_ptr_null(strstr(text, "\xc2\x9b"));
		ck_assert_ptr_null(strchr(text, '\xff'));
		ck_assert_ptr_nonnull(strstr(text, json ? "\"n?[2J??\":{" : "n?[2J?? {"));
		ck_assert_ptr_nonnull(strstr(text, json ? "\"p?]0;??\":" : "p?]0;?? = "));
		ck_assert_ptr_nonnull(strstr(text, "\"\xc3\xbc, a \\\" and a \\\\\""));
		free(text);
	}
}
END_TEST

/* any damage: refused, or loaded and saved again */
START_TEST(damaged_trees)
{
	unsigned loaded = 0;
	size_t size;

	save(fields, &good);
	fdt_pack(tree);
	size = fdt_totalsize(tree);
	for (uint32_t i = 1; i < 100000; i++) {
		static _Alignas(8) char bad[TREE], again[TREE];
		uint32_t seed = i * 2654435761U;
		struct thing back = { 0 };

		memcpy(bad, tree, size);
		for (unsigned n = 1 + fake_random(&seed) % 3; n; n--)
			bad[fake_random(&seed) % size] = (char)fake_odd(&seed);
		if (fdt_check_full(bad, size) || state_load(bad, 0, fields, &back))
			continue;
		loaded++;
		require(back.used <= 3 && back.blob_len <= 20 && back.half && back.mode < 3);
		require(!tree_begin(again, TREE) && !state_save(again, fields, &back));
		require(tree_end(again) > 0);
	}
	ck_assert_uint_gt(loaded, 1000);
	ck_assert_uint_lt(loaded, 90000);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("state");
	TCase *t = tcase_create("state");

	tcase_set_timeout(t, 30);
	tcase_add_test(t, round_trip);
	tcase_add_test(t, encoding);
	tcase_add_test(t, numbers_out_of_range);
	tcase_add_test(t, words_and_bytes);
	tcase_add_test(t, missing_and_unknown);
	tcase_add_test(t, lists);
	tcase_add_test(t, unknown_nodes);
	tcase_add_test(t, older_images);
	tcase_add_test(t, no_room);
	tcase_add_test(t, tables_with_faults);
	tcase_add_test(t, tables_within_tables);
	tcase_add_test(t, printed);
	tcase_add_test(t, printed_hostile);
	tcase_add_test(t, damaged_trees);
	suite_add_tcase(s, t);
	return suite_run(s);
}
