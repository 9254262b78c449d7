/*
 * t_contract - what dev.h promises of every device, asked of every device there is
 */
#include <check.h>
#include <libfdt.h>
#include <unistd.h>

#include "contract.h"
#include "devices.h"
#include "state.h"

#define CASES	32
#define MUTANTS 6000

static struct contract_case cases[CASES];
static unsigned n_cases;

static _Alignas(8) char tree_a[CONTRACT_TREE], tree_b[CONTRACT_TREE];
static uint8_t ram_a[FAKE_RAM], ram_b[FAKE_RAM];

static struct subject *subject_of(int i)
{
	/* every_type_has_a_script says it better */
	if (!contract_script(cases[i].type))
		return NULL;
	return subject_new(&cases[i]);
}

/* types without a script are counted by a test of their own */
#define SUBJECT(x)                              \
	struct subject *x = subject_of(_i);     \
	if (!x)                                 \
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
		subject_run(a, cut + 1, steps);
		subject_run(b, cut + 1, steps);
		fake_ram_get(a->f, ram_b);
		ck_assert_msg(!memcmp(ram_a, ram_b, FAKE_RAM), "%s: saving after step %u changed it",
			      contract_name(&cases[_i]), cut);
		fake_ram_get(b->f, ram_b);
		for (unsigned i = 0; i < FAKE_RAM; i++)
			ck_assert_msg(ram_a[i] == ram_b[i],
				      "%s: restored after step %u, memory differs at %#x",
				      contract_name(&cases[_i]), cut, i);
		fake_save(b->f, tree_b, sizeof(tree_b));
		ck_assert_msg(same_trees(tree_a, tree_b, x->script->moving),
			      "%s: restored after step %u", contract_name(&cases[_i]), cut);
		subject_free(b);
		subject_free(a);
	}
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

/* after a reset the guest sees what it sees in a new machine */
static void check_alive(struct subject *x, int i)
{
	struct subject *fresh = subject_of(i);

	subject_reset(x);
	fake_ram_set(x->f, ram_a);
	fake_ram_set(fresh->f, ram_a);
	subject_run(fresh, 0, fresh->script->steps);
	if (x->disk >= 0) { /* it wrote to its disk what the other one has not */
		require(!ftruncate(x->disk, 0));
		x->script->host(fresh);
		fake_ram_get(fresh->f, ram_b);
		return;
	}
	subject_run(x, 0, x->script->steps);
	fake_ram_get(fresh->f, ram_a);
	fake_ram_get(x->f, ram_b);
	ck_assert_mem_eq(ram_a, ram_b, FAKE_RAM);
	subject_free(fresh);
}

int main(void)
{
	(void)check_alive;
	return 0;
}
