/*
 * t_contract - what dev.h promises of every device, asked of every device there is
 */
#include <libfdt.h>
#include <unistd.h>

#include "contract.h"
#include "devices.h"
#include "state.h"
#include "suite.h"

#define CASES	32
#define MUTANTS 2000

static struct contract_case cases[CASES];
static unsigned n_cases;

static _Alignas(8) char tree_a[CONTRACT_TREE], tree_b[CONTRACT_TREE];
static uint8_t ram_a[FAKE_RAM], ram_b[FAKE_RAM];

/*
 * An assertion that holds costs a write(2) to libcheck's own file, so none
 * stands in a loop over bytes.
 */
static void same_memory(const uint8_t *a, const uint8_t *b, const char *when, unsigned step, int i)
{
	unsigned at = 0;

	if (!memcmp(a, b, FAKE_RAM))
		return;
	while (a[at] == b[at])
		at++;
	ck_abort_msg("%s: %s step %u: memory differs at %#x: %#x, not %#x",
		     contract_name(&cases[i]), when, step, at, b[at], a[at]);
}

static struct subject *subject_of(int i)
{
	if (!contract_script(cases[i].type))
		return NULL;
	return subject_new(&cases[i]);
}

/* every_type_has_a_script is the test that fails where there is none */
#define SUBJECT(x)                          \
	struct subject *x = subject_of(_i); \
	if (!x)                             \
	return

START_TEST(every_type_has_a_script)
{
	for (unsigned i = 0; dev_types[i]; i++)
		ck_assert_msg(contract_script(dev_types[i]) != NULL,
			      "device type '%s' is in dev_types[] and has no guest: add a struct "
			      "script for it to contract_scripts[] in tests/scripts.c",
			      dev_types[i]->name);
}
END_TEST

START_TEST(tables_name_each_byte)
{
	SUBJECT(x);

	for (unsigned i = 0; i < x->dev->parts; i++) {
		const struct dev_part *p = &x->dev->part[i];

		ck_assert_msg(!state_check(p->table, p->size), "%s/%s: %s",
			      contract_name(&cases[_i]), p->name, err_last());
	}
	subject_free(x);
}
END_TEST

START_TEST(nothing_is_left_behind)
{
	unsigned fds, threads;

	SUBJECT(warm);
	subject_free(warm);
	fds = fake_fds();
	threads = fake_threads();
	for (unsigned round = 0; round < 3; round++) {
		struct subject *x = subject_of(_i);

		subject_run(x, 0, x->script->steps);
		subject_free(x);
	}
	ck_assert_uint_eq(fake_fds(), fds);
	ck_assert_uint_eq(fake_threads(), threads);
}
END_TEST

/* the second of two devices in one place is refused, and costs nothing */
START_TEST(a_twin_is_refused)
{
	unsigned fds, tries = 3;

	SUBJECT(x);
	fds = fake_fds();
	if (x->disk >= 0) /* the place is to be what is wrong, not the file's lock */
		x->disk_conf.ro = true;
	while (tries--) {
		err_clear();
		ck_assert_ptr_null(subject_twin(x));
		ck_assert_str_ne(err_last(), "");
	}
	ck_assert_uint_eq(fake_fds(), fds);
	subject_free(x);
}
END_TEST

START_TEST(load_then_save_is_the_identity)
{
	SUBJECT(x);

	for (unsigned k = 0; k < x->script->steps; k++) {
		struct subject *y;
		int n, m;

		subject_step(x, k);
		n = fake_save(x->f, tree_a, sizeof(tree_a));
		y = subject_clone(x, tree_a, (size_t)n);
		m = fake_save(y->f, tree_b, sizeof(tree_b));
		/* a resumed device may go on: what a step left waiting is done by now */
		ck_assert_int_eq(n, m);
		ck_assert_msg(same_trees(tree_a, tree_b, x->script->moving), "%s, step %u",
			      contract_name(&cases[_i]), k);
		subject_free(y);
	}
	subject_free(x);
}
END_TEST

/*
 * x runs through.  a is saved after each step and goes on; b goes on in
 * another machine.  All see the same and end the same.
 */
START_TEST(snapshot_at_every_step)
{
	struct subject *a, *b;
	unsigned steps;
	int n;

	SUBJECT(x);
	steps = x->script->steps;
	subject_run(x, 0, steps);
	fake_ram_get(x->f, ram_a);
	fake_save(x->f, tree_a, sizeof(tree_a));
	for (unsigned cut = 0; cut < steps; cut++) {
		a = subject_of(_i);
		subject_run(a, 0, cut + 1);
		n = fake_save(a->f, tree_b, sizeof(tree_b));
		b = subject_clone(a, tree_b, (size_t)n);
		ck_assert_mem_eq(a->f->level, b->f->level, sizeof(a->f->level));
		/* both have been resumed, so have looked at their queues */
		fake_settle(a->f);
		fake_settle(b->f);
		subject_run(a, cut + 1, steps);
		subject_run(b, cut + 1, steps);
		fake_ram_get(a->f, ram_b);
		ck_assert_msg(!memcmp(ram_a, ram_b, FAKE_RAM),
			      "%s: saving after step %u changed it", contract_name(&cases[_i]),
			      cut);
		fake_ram_get(b->f, ram_b);
		same_memory(ram_a, ram_b, "restored after", cut, _i);
		fake_save(b->f, tree_b, sizeof(tree_b));
		ck_assert_msg(same_trees(tree_a, tree_b, x->script->moving),
			      "%s: restored after step %u", contract_name(&cases[_i]), cut);
		subject_free(b);
		subject_free(a);
	}
	subject_free(x);
}
END_TEST

/* an interrupt controller that was put back to an older state hears of lines that are up, and of
 * edges */
START_TEST(lines_are_told_again)
{
	bool before[IRQ_LINES];
	unsigned up = 0, rises;

	SUBJECT(x);
	for (unsigned k = 0; k < x->script->steps; k++) {
		subject_step(x, k);
		memcpy(before, x->f->level, sizeof(before));
		rises = x->f->rises[CONTRACT_GSI];
		fake_save(x->f, tree_a, sizeof(tree_a));
		memset(x->f->level, 0, sizeof(x->f->level));
		fake_resume(x->f);
		ck_assert_mem_eq(before, x->f->level, sizeof(before));
		rises = x->f->rises[CONTRACT_GSI] - rises;
		up += rises;
		if (x->wiring == WIRE_MMIO)
			ck_assert_int_eq(rises != 0, to_vdev(x->dev)->s.isr != 0);
	}
	ck_assert(x->wiring == WIRE_BOARD || up);
	subject_free(x);
}
END_TEST

START_TEST(every_store_is_dirty)
{
	unsigned pages = 0;

	SUBJECT(x);
	for (unsigned k = 0; k < x->script->steps; k++) {
		fake_mark(x->f);
		subject_step(x, k);
		pages += fake_check_dirty(x->f);
	}
	if (x->wiring != WIRE_BOARD)
		ck_assert_uint_gt(pages, 3);
	subject_free(x);
}
END_TEST

START_TEST(reset_is_power_on)
{
	const char *but[9] = { NULL };
	unsigned n = 0;

	SUBJECT(x);
	for (unsigned i = 0; i < 4; i++) {
		if (x->script->moving[i])
			but[n++] = x->script->moving[i];
		if (x->script->kept[i])
			but[n++] = x->script->kept[i];
	}
	fake_save(x->f, tree_a, sizeof(tree_a));
	for (unsigned k = 0; k < x->script->steps; k++) {
		subject_run(x, 0, k + 1);
		subject_reset(x);
		fake_save(x->f, tree_b, sizeof(tree_b));
		ck_assert_msg(same_trees(tree_a, tree_b, but), "%s, reset after step %u",
			      contract_name(&cases[_i]), k);
		for (unsigned gsi = 0; gsi < IRQ_LINES; gsi++)
			ck_assert_msg(!x->f->level[gsi], "line %u is up after a reset", gsi);
	}
	subject_free(x);
}
END_TEST

/* the guest runs from the start, and sees what it sees in a new machine */
static void check_alive(struct subject *x, int i)
{
	struct subject *fresh = subject_of(i);

	subject_reset(x);
	if (x->script->refill)
		x->script->refill(x);
	memset(ram_a, 0, FAKE_RAM);
	fake_ram_set(x->f, ram_a);
	subject_run(fresh, 0, fresh->script->steps);
	subject_run(x, 0, x->script->steps);
	fake_ram_get(fresh->f, ram_a);
	fake_ram_get(x->f, ram_b);
	same_memory(ram_a, ram_b, "alive after", 0, i);
	subject_free(fresh);
}

START_TEST(alive_after_reset)
{
	SUBJECT(x);

	for (unsigned k = 0; k < x->script->steps; k++) {
		subject_run(x, 0, k + 1);
		check_alive(x, _i);
	}
	subject_free(x);
}
END_TEST

/* any access to any register is survived, and the device is as good as new after a reset */
START_TEST(wild_registers)
{
	int n;

	SUBJECT(x);

	for (uint32_t seed = 1; seed <= 4; seed++) {
		if (seed > 2) /* from the middle of things, too */
			subject_run(x, 0, x->script->steps / 2);
		subject_hammer(x, seed);
		/* no guest can make its machine one that is saved and does not load */
		n = fake_save(x->f, tree_a, sizeof(tree_a));
		subject_free(subject_clone(x, tree_a, (size_t)n));
		check_alive(x, _i);
		ck_assert_uint_lt(fake_log_lines(""), 200);
	}
	subject_free(x);
}
END_TEST

/* a driver that breaks the rules, on any queue: one line in the log, then silence */
START_TEST(broken_then_alive)
{
	SUBJECT(x);
	if (x->wiring == WIRE_BOARD) {
		subject_free(x);
		return;
	}
	for (unsigned q = 0; q < to_vdev(x->dev)->s.nvq; q++) {
		ck_assert(guest_start(&x->g, GUEST_VERSION_1, to_vdev(x->dev)->s.nvq, 8));
		fake_log_clear();
		x->f->m.faults = 0;
		x->dev->log =
			(struct log_limit){ 0 }; /* many queues are more lines than it lets by */
		fake_poke16(x->f, x->g.q[q].avail + 2, 0x8000);
		for (unsigned i = 0; i < 3; i++) {
			guest_kick(&x->g, q);
			fake_settle(x->f);
			ck_assert_msg(guest_is_broken(&x->g), "%s: queue %u",
				      contract_name(&cases[_i]), q);
		}
		ck_assert_uint_eq(fake_log_lines(x->dev->name), 1);
		ck_assert_uint_eq(x->f->m.faults, 1);
		ck_assert_uint_eq(guest_used_idx(&x->g, q), 0);
		check_alive(x, _i);
	}
	subject_free(x);
}
END_TEST

/* --- snapshots made by an enemy --- */

/* one property of any node gets another value of the same length */
static void mutate_property(char *fdt, uint32_t *seed)
{
	int node = 0, depth = 0, nodes = 0, prop, props = 0, len;
	uint64_t v = fake_odd(seed);
	const void *at;

	for (int n = 0; n >= 0; n = fdt_next_node(fdt, n, &depth))
		nodes++;
	nodes = (int)(fake_random(seed) % (uint32_t)nodes);
	while (nodes--)
		node = fdt_next_node(fdt, node, &depth);
	fdt_for_each_property_offset(prop, fdt, node) props++;
	if (!props)
		return;
	props = (int)(fake_random(seed) % (uint32_t)props);
	prop = fdt_first_property_offset(fdt, node);
	while (props--)
		prop = fdt_next_property_offset(fdt, prop);
	at = fdt_getprop_by_offset(fdt, prop, NULL, &len);
	if (len == 4)
		fdt32_st((void *)(uintptr_t)at, (uint32_t)v);
	else if (len == 8)
		fdt64_st((void *)(uintptr_t)at, v);
	else if (len)
		((uint8_t *)(uintptr_t)at)[fake_random(seed) % (uint32_t)len] = (uint8_t)v;
}

static void mutate(char *fdt, int len, uint32_t *seed)
{
	unsigned n = 1 + fake_random(seed) % 3;

	if (fake_random(seed) % 4) {
		while (n--)
			mutate_property(fdt, seed);
		return;
	}
	while (n--)
		fdt[fake_random(seed) % (uint32_t)len] = (char)fake_odd(seed);
}

/* refused with a message, or loaded and then survived by machine and guest */
START_TEST(hostile_snapshot)
{
	unsigned loaded = 0, refused = 0, fds;
	int n;

	SUBJECT(x);
	subject_run(x, 0, x->script->steps / 2);
	fds = fake_fds();
	n = fake_save(x->f, tree_a, sizeof(tree_a));
	fake_ram_get(x->f, ram_a);
	for (uint32_t i = 1; i <= MUTANTS; i++) {
		uint32_t seed = i * 2654435761U;
		struct subject *y = subject_of(_i);

		memcpy(tree_b, tree_a, (size_t)n);
		mutate(tree_b, n, &seed);
		fake_ram_set(y->f, ram_a);
		err_clear();
		if (fake_load(y->f, tree_b, (size_t)n)) {
			if (!*err_last())
				ck_abort_msg("refused without a message");
			refused++;
		} else {
			fake_resume(y->f);
			y->g = x->g;
			y->g.f = y->f;
			fake_settle(y->f);
			for (unsigned q = 0; q < y->g.queues; q++)
				guest_kick(&y->g, q);
			fake_settle(y->f);
			if (y->wiring == WIRE_BOARD)
				subject_run(y, 0, y->script->steps);
			fake_save(y->f, tree_b, sizeof(tree_b));
			loaded++;
		}
		subject_free(y);
	}
	printf("hostile_snapshot: %s: %u loaded, %u refused\n", contract_name(&cases[_i]), loaded,
	       refused);
	ck_assert_uint_eq(fake_fds(), fds);
	ck_assert_uint_gt(loaded, 100);
	ck_assert_uint_gt(refused, 100);
	subject_free(x);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("contract");
	TCase *t = tcase_create("contract");
	int n;

	n_cases = contract_cases(cases, CASES);
	n = (int)n_cases;
	tcase_set_timeout(t, 120);
	tcase_add_test(t, every_type_has_a_script);
	tcase_add_loop_test(t, tables_name_each_byte, 0, n);
	tcase_add_loop_test(t, nothing_is_left_behind, 0, n);
	tcase_add_loop_test(t, a_twin_is_refused, 0, n);
	tcase_add_loop_test(t, load_then_save_is_the_identity, 0, n);
	tcase_add_loop_test(t, snapshot_at_every_step, 0, n);
	tcase_add_loop_test(t, lines_are_told_again, 0, n);
	tcase_add_loop_test(t, every_store_is_dirty, 0, n);
	tcase_add_loop_test(t, reset_is_power_on, 0, n);
	tcase_add_loop_test(t, alive_after_reset, 0, n);
	tcase_add_loop_test(t, wild_registers, 0, n);
	tcase_add_loop_test(t, broken_then_alive, 0, n);
	tcase_add_loop_test(t, hostile_snapshot, 0, n);
	suite_add_tcase(s, t);
	return suite_run(s);
}
