/*
 * contract.h - a device of any type in a fake machine, and a guest that uses it
 *
 * What dev.h promises of every device is tested of every device: t_contract.c
 * walks dev_types[].  A new type needs one entry in contract_scripts[]: how it
 * is made, and a guest in steps.  What the guest sees in a step it notes in its
 * memory, so that comparing memory compares that too.
 */
#ifndef HUTCH_TEST_CONTRACT_H
#define HUTCH_TEST_CONTRACT_H

#include "conf.h"
#include "guest.h"

enum wiring { WIRE_BOARD, WIRE_MMIO, WIRE_PCI };

#define CONTRACT_TREE	 (128U << 10)
#define CONTRACT_SECTORS 64
#define CONTRACT_GSI	 5

struct subject {
	struct fake *f;
	const struct script *script;
	enum wiring wiring;
	struct dev *pci; /* WIRE_PCI: the bus */
	struct dev *dev;
	struct guest g; /* WIRE_MMIO, WIRE_PCI */
	unsigned step, notes;
	/* the host's side */
	int disk;
	struct conf_disk disk_conf;
	struct stream *stream;
	int input[2], output;
	void *own; /* whatever else a script needs; its unhost() frees it */
};

struct script {
	const struct dev_type *type;
	/* set up the host's side, NULL for none */
	void (*host)(struct subject *x);
	void (*unhost)(struct subject *x); /* and take it down, after the device; NULL for none */
	void (*refill)(struct subject *x); /* the host's data, as at first; NULL for none */
	/* what dev_new() takes; of a virtio device only its own part */
	const void *(*conf)(struct subject *x);
	unsigned steps;
	void (*step)(struct subject *x, unsigned k);
	/* properties that follow the host's clock, and those a reset leaves alone */
	const char *moving[4], *kept[4];
};

extern const struct script *const contract_scripts[];
extern const struct script blk_script, net_script, vsock_script, rng_script, balloon_script,
	console_script; /* one in each scripts_TYPE.c */

/* the host's random numbers, as rng_script's host() sets them up: a pattern, the same each time */
struct fake_pool {
	bool on;
	int fail;    /* errno of the next calls */
	size_t most; /* at once; 0: all that is asked for */
	unsigned calls;
	size_t asked; /* in the last call */
};
extern struct fake_pool fake_pool;
extern struct conf_disk
	blk_script_disk; /* its disk, in memory if it has no path; a test may want another */

/* NULL if there is no script for @type */
const struct script *contract_script(const struct dev_type *type);

/* what there is to test: each type, virtio ones on each transport */
struct contract_case {
	const struct dev_type *type;
	enum wiring wiring;
};
unsigned contract_cases(struct contract_case *ret, unsigned max);
const char *contract_name(const struct contract_case *c);

struct subject *subject_new(const struct contract_case *c);
void subject_free(struct subject *x);
/* one more device like @x's, in the same place: NULL with a message is what is expected */
struct dev *subject_twin(struct subject *x);

void subject_step(struct subject *x, unsigned k);
void subject_run(struct subject *x, unsigned from, unsigned to);
void subject_note(struct subject *x, uint64_t v);
/* back to power-on, as vm_reset() does it; memory stays */
void subject_reset(struct subject *x);

/* a machine of its own in the state of @x: memory, disk, tree */
struct subject *subject_clone(struct subject *x, const void *fdt, size_t size);

/* two trees, but for the properties in @but (NULL-terminated); says where they differ */
bool same_trees(const void *a, const void *b, const char *const *but);

/* every width at every offset of all registers of the device, with values from @seed */
void subject_hammer(struct subject *x, uint32_t seed);

#endif
