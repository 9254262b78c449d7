/*
 * dev.h - what a device is (layer 2)
 *
 * A device is a struct that begins with struct dev, made from a struct
 * dev_type.  Rules that hold for every one, and that tests/contract.c checks:
 *
 * 1. Its bus_ops run on vCPU threads, everything else on the loop's thread.
 *    Both hold dev->lock while they touch the device.
 * 2. What must survive a snapshot lies in structs with field tables, announced
 *    by dev_part(); file descriptors, buffers and pointers lie outside them.
 * 3. drain() returns with nothing in flight, so the parts are the whole truth.
 * 4. loaded() looks at freshly loaded parts as at hostile input, then brings
 *    lines, kicks and timers in step with them.
 * 5. reset() puts the device in its state of power-on; its host side stays.
 */
#ifndef HUTCH_DEV_H
#define HUTCH_DEV_H

#include <pthread.h>

#include "bus.h"
#include "field.h"
#include "gmem.h"
#include "irq.h"
#include "log.h"
#include "loop.h"

enum machine_event { MACHINE_POWEROFF = 1, MACHINE_REBOOT, MACHINE_PANIC };

/* what a device may use of the machine */
struct machine {
	struct gmem *mem;
	struct bus *bus;
	struct irq *irq;
	struct loop *loop;
	/* the guest asked for the machine's end; any thread, returns at once */
	void (*event)(struct machine *m, int event, const char *why);
	uint32_t faults; /* how often the guest broke the rules of a device; atomic */
};

/*
 * The reset control register, port 0xcf9 of a PC: bit 2 resets.  With a PCI bus
 * it lies inside the bus's own ports, so whoever decodes it calls this.
 */
static inline void machine_reset_register(struct machine *m, uint8_t *reg, uint8_t v)
{
	*reg = v & (uint8_t)~4U;
	if (v & 4)
		m->event(m, MACHINE_REBOOT, "the guest rebooted");
}

/* where the board puts a device with fixed registers */
struct dev_place {
	uint64_t base;
	unsigned gsi;
	struct stream *stream; /* serial: the host's end */
};

struct dev_part {
	const char *name;
	const struct field *table;
	void *obj;
	size_t size;
};

#define DEV_PARTS    5
#define DEV_COUNTERS 2

struct dev {
	const struct dev_type *type;
	char name[32]; /* "serial", "blk@0": the node in the tree and the name in messages */
	struct machine *m;
	pthread_mutex_t lock;
	unsigned parts;
	struct dev_part part[DEV_PARTS];
	unsigned counters;
	struct dev_part counter[DEV_COUNTERS];
	struct log_limit log;
};

struct dev_type {
	const char *name;
	size_t size;
	/* @conf is the device's own configuration, NULL where there is none */
	int (*create)(struct dev *dev, const void *conf);
	void (*reset)(struct dev *dev);
	void (*drain)(struct dev *dev); /* called without the lock; others with it */
	int (*loaded)(struct dev *dev);
	void (*resume)(struct dev *dev); /* after loaded() or a pause: look at every queue */
	/*
	 * Keys of its configuration that are marked live have new values in @conf, the
	 * struct that create() was given (of a virtio device: its own part).  On the
	 * loop; -errno with a message, and nothing has changed.  NULL: none are live.
	 */
	int (*configure)(struct dev *dev, const void *conf);
	void (*destroy)(struct dev *dev);
};

/* NULL with a message; @index names the one of several ("blk@1"), -1 for an only one */
struct dev *dev_new(const struct dev_type *type, int index, struct machine *m, const void *conf);
void dev_free(struct dev *dev);

void dev_part(struct dev *dev, const char *name, const struct field *table, void *obj, size_t size);
#define DEV_PART(dev, name, table, obj) dev_part(dev, name, table, obj, sizeof(*(obj)))

/* numbers that `inspect` shows and a snapshot leaves out; at most DEV_COUNTERS structs of them */
void dev_counters(struct dev *dev, const struct field *table, void *obj);

void dev_reset(struct dev *dev);
void dev_drain(struct dev *dev);
void dev_resume(struct dev *dev);

int dev_configure(struct dev *dev, const void *conf) must_check; /* -EINVAL if nothing is live */
int dev_save_counters(struct dev *dev, void *fdt) must_check;

/* a drained device's node in the open tree, and back: -EINVAL, -ERANGE with a message */
int dev_save(struct dev *dev, void *fdt) must_check;
int dev_load(struct dev *dev, const void *fdt, int parent) must_check;
/* would it be taken, as far as can be told without? Nothing is */
int dev_check(const struct dev *dev, const void *fdt, int parent) must_check;

static inline void dev_lock(struct dev *dev)
{
	pthread_mutex_lock(&dev->lock);
}

static inline void dev_unlock(struct dev *dev)
{
	pthread_mutex_unlock(&dev->lock);
}

#endif
