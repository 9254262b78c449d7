#include <dirent.h>
#include <fcntl.h>
#include <libfdt.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fake.h"
#include "state.h"

#define IDLE_LIMIT (20ULL * 1000000000)

void fake_fail(const char *file, int line, const char *what)
{
	fprintf(stderr, "%s:%d: %s does not hold; last error: %s\n", file, line, what, err_last());
	abort();
}

/* --- interrupts and kicks --- */

static struct fake *of_irq(struct irq *irq)
{
	return container_of(irq, struct fake, irq);
}

static void on_line(struct irq *irq, unsigned gsi, bool level)
{
	struct fake *f = of_irq(irq);

	require(gsi < IRQ_LINES);
	f->line_calls++;
	if (level && !f->level[gsi])
		f->rises[gsi]++;
	f->level[gsi] = level;
}

static void on_msi(struct irq *irq, uint64_t addr, uint32_t data)
{
	struct fake *f = of_irq(irq);

	f->msi[f->msis++ % FAKE_MSIS] = (struct fake_msi){ addr, data };
}

static bool same_kick(const struct fake_kick *a, const struct fake_kick *b)
{
	return a->addr == b->addr && a->len == b->len && a->matched == b->matched &&
	       (!a->matched || a->match == b->match);
}

static int drop_kick(struct fake *f, const struct fake_kick *k)
{
	for (unsigned i = 0; i < f->kicks; i++) {
		if (!same_kick(&f->kick[i], k) || f->kick[i].fd != k->fd)
			continue;
		f->kick[i] = f->kick[--f->kicks];
		return 0;
	}
	require(!"a kick is taken back that was never given");
	return -ENOENT;
}

static int on_kick(struct irq *irq, uint64_t addr, unsigned len, const uint32_t *match, int eventfd,
		   bool on)
{
	struct fake *f = of_irq(irq);
	struct fake_kick k = { addr, len, match, match ? *match : 0, eventfd };

	if (!f->catch_kicks)
		return -ENOSYS;
	if (!on)
		return drop_kick(f, &k);
	for (unsigned i = 0; i < f->kicks; i++)
		if (same_kick(&f->kick[i], &k))
			return -EEXIST; /* as KVM says */
	if (f->kicks == FAKE_KICKS)
		return -ENOSPC;
	f->kick[f->kicks++] = k;
	return 0;
}

static const struct irq_ops fake_irq_ops = { on_line, on_msi, on_kick };

void fake_mmio(struct fake *f, uint64_t addr, unsigned len, uint64_t v)
{
	uint64_t one = 1;

	for (unsigned i = 0; i < f->kicks; i++) {
		const struct fake_kick *k = &f->kick[i];

		if (k->addr != addr || (k->len && k->len != len) || (k->matched && k->match != v))
			continue;
		require(write(k->fd, &one, sizeof(one)) == sizeof(one));
		return;
	}
	bus_write(&f->bus, BUS_MMIO, addr, len, v);
}

static void on_event(struct machine *m, int event, const char *why)
{
	struct fake *f = container_of(m, struct fake, m);

	f->event = event;
	f->events++;
	snprintf(f->why, sizeof(f->why), "%s", why);
}

/* --- the machine --- */

/* one for the process, because the log is */
static int log_fd = -1;

static void open_log(void)
{
	if (log_fd >= 0)
		return;
	log_fd = memfd_create("log", MFD_CLOEXEC);
	require(log_fd >= 0);
	log_setup(log_fd, LOG_DEBUG);
}

struct fake *fake_new(void)
{
	struct fake *f = calloc(1, sizeof(*f));

	require(f);
	require(!gmem_add(&f->mem, 0, FAKE_LOW_END));
	require(!gmem_add(&f->mem, FAKE_HIGH, FAKE_HIGH_SLOT));
	require(!gmem_add(&f->mem, FAKE_HIGH + FAKE_HIGH_SLOT, FAKE_HIGH_SLOT));
	f->irq.ops = &fake_irq_ops;
	f->m = (struct machine){ &f->mem, &f->bus, &f->irq, loop_new(), on_event };
	require(f->m.loop);
	open_log();
	return f;
}

void fake_free(struct fake *f)
{
	while (f->devs)
		fake_dev_free(f, f->dev[f->devs - 1]);
	loop_free(f->m.loop);
	gmem_free(&f->mem);
	free(f);
}

struct dev *fake_dev(struct fake *f, const struct dev_type *type, int index, const void *conf)
{
	struct dev *dev = dev_new(type, index, &f->m, conf);

	if (!dev)
		return NULL;
	require(f->devs < FAKE_DEVS);
	f->dev[f->devs++] = dev;
	return dev;
}

/* the newest first; the bus keeps its ranges, so nothing may touch them afterwards */
void fake_dev_free(struct fake *f, struct dev *dev)
{
	require(f->devs && f->dev[f->devs - 1] == dev);
	f->devs--;
	dev_drain(dev);
	dev_free(dev);
}

static bool never(void *arg)
{
	(void)arg;
	return false;
}

void fake_dev_gone(struct fake *f, struct dev *dev, unsigned ms)
{
	size_t size = dev->type->size;
	void *p;

	fake_dev_free(f, dev);
	p = calloc(1, size); /* where it was, with luck: a timer is due then, and leads nowhere */
	require(p && loop_until(f->m.loop, never, NULL, ms * 1000000ULL) == -ETIMEDOUT);
	free(p);
}

bool fake_is_virtio(const struct dev *dev)
{
	return dev->type->resume == vdev_resume;
}

uint64_t fake_counter(const struct dev *dev, const char *name)
{
	const struct field *f = NULL;
	unsigned i = 0;

	while (i < dev->counters && !(f = field_find(dev->counter[i].table, name)))
		i++;
	require(f);
	return field_get(f, dev->counter[i].obj);
}

static void tick(void *arg)
{
	*(bool *)arg = true;
}

static bool ticked(void *arg)
{
	return *(bool *)arg;
}

/* the call wakes the loop, which then hands out whatever else is ready */
void fake_turn(struct fake *f)
{
	bool done = false;
	struct loop_call call = { .fn = tick, .arg = &done };

	loop_call(f->m.loop, &call);
	require(!loop_until(f->m.loop, ticked, &done, IDLE_LIMIT));
}

static bool is_idle(void *arg)
{
	struct fake *f = arg;

	for (unsigned i = 0; i < f->devs; i++)
		if (fake_is_virtio(f->dev[i]) && to_vdev(f->dev[i])->inflight)
			return false;
	return true;
}

void fake_settle(struct fake *f)
{
	do {
		fake_turn(f);
		require(!loop_until(f->m.loop, is_idle, f, IDLE_LIMIT));
		fake_turn(f);
	} while (!is_idle(f));
}

/* --- the guest's memory --- */

/* where a byte of RAM lies in the shadow */
static size_t shadow_at(gpa_t gpa)
{
	return gpa < FAKE_LOW_END ? gpa : FAKE_LOW_END + (gpa - FAKE_HIGH);
}

void fake_poke(struct fake *f, gpa_t gpa, const void *src, size_t len)
{
	const uint8_t *p = src;
	struct iovec iov[2];
	int n;

	if (!len)
		return;
	n = gmem_iov(&f->mem, gpa, len, iov, 2);
	require(n > 0);
	memcpy(f->shadow + shadow_at(gpa), src, len);
	for (int i = 0; i < n; i++) {
		memcpy(iov[i].iov_base, p, iov[i].iov_len);
		p += iov[i].iov_len;
	}
}

void fake_peek(struct fake *f, gpa_t gpa, void *dst, size_t len)
{
	require(!gmem_read(&f->mem, gpa, dst, len));
}

void fake_fill(struct fake *f, gpa_t gpa, uint8_t c, size_t len)
{
	uint8_t buf[256];

	memset(buf, c, sizeof(buf));
	for (size_t n; len; gpa += n, len -= n) {
		n = MIN(len, sizeof(buf));
		fake_poke(f, gpa, buf, n);
	}
}

void fake_poke16(struct fake *f, gpa_t gpa, uint16_t v)
{
	fake_poke(f, gpa, &v, sizeof(v));
}

uint16_t fake_peek16(struct fake *f, gpa_t gpa)
{
	uint16_t v;

	fake_peek(f, gpa, &v, sizeof(v));
	return v;
}

uint8_t fake_peek8(struct fake *f, gpa_t gpa)
{
	uint8_t v;

	fake_peek(f, gpa, &v, sizeof(v));
	return v;
}

void fake_ram_get(struct fake *f, uint8_t *buf)
{
	fake_peek(f, 0, buf, FAKE_LOW_END);
	fake_peek(f, FAKE_HIGH, buf + FAKE_LOW_END, 2 * FAKE_HIGH_SLOT);
}

void fake_ram_set(struct fake *f, const uint8_t *buf)
{
	fake_poke(f, 0, buf, FAKE_LOW_END);
	fake_poke(f, FAKE_HIGH, buf + FAKE_LOW_END, 2 * FAKE_HIGH_SLOT);
}

void fake_mark(struct fake *f)
{
	fake_ram_get(f, f->shadow);
	for (size_t at = 0; at < FAKE_RAM; at += GMEM_PAGE)
		gmem_test_clear_dirty(&f->mem,
				      at < FAKE_LOW_END ? at : at - FAKE_LOW_END + FAKE_HIGH);
}

unsigned fake_check_dirty(struct fake *f)
{
	static uint8_t now[FAKE_RAM];
	unsigned pages = 0;

	fake_ram_get(f, now);
	for (size_t at = 0; at < FAKE_RAM; at += GMEM_PAGE) {
		gpa_t gpa = at < FAKE_LOW_END ? at : at - FAKE_LOW_END + FAKE_HIGH;

		if (!memcmp(now + at, f->shadow + at, GMEM_PAGE))
			continue;
		pages++;
		if (!gmem_test_clear_dirty(&f->mem, gpa))
			fprintf(stderr, "the page at %#lx was stored to and not marked\n", gpa);
		else
			continue;
		require(!"every store of the VMM is marked dirty");
	}
	return pages;
}

/* --- snapshots --- */

int fake_save(struct fake *f, void *buf, size_t size)
{
	int n;

	for (unsigned i = 0; i < f->devs; i++)
		dev_drain(f->dev[i]);
	for (unsigned i = 0; i < f->devs; i++)
		if (fake_is_virtio(f->dev[i]))
			require(!to_vdev(f->dev[i])->inflight);
	require(!tree_begin(buf, size));
	for (unsigned i = 0; i < f->devs; i++)
		require(!dev_save(f->dev[i], buf));
	n = tree_end(buf);
	require(n > 0);
	fake_resume(f);
	return n;
}

int fake_load(struct fake *f, const void *fdt, size_t size)
{
	int r = fdt_check_full(fdt, size) ? err(-EINVAL, "not a tree") : 0;

	for (unsigned i = 0; !r && i < f->devs; i++)
		r = dev_load(f->dev[i], fdt, 0);
	return r;
}

void fake_resume(struct fake *f)
{
	for (unsigned i = 0; i < f->devs; i++)
		dev_resume(f->dev[i]);
}

/* --- the log, and what the process holds --- */

unsigned fake_log_lines(const char *text)
{
	char *buf = calloc(1, MiB), *line, *rest;
	unsigned n = 0;

	require(buf);
	require(pread(log_fd, buf, MiB - 1, 0) >= 0);
	for (line = strtok_r(buf, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
		n += strstr(line, text) != NULL;
	free(buf);
	return n;
}

void fake_log_clear(void)
{
	open_log();
	require(!ftruncate(log_fd, 0));
	require(!lseek(log_fd, 0, SEEK_SET));
}

static char folder[32];

const char *fake_folder(void)
{
	if (!folder[0]) {
		strcpy(folder, "/tmp/hutch-test.XXXXXX");
		require(mkdtemp(folder));
	}
	return folder;
}

void fake_folder_remove(void)
{
	DIR *dir = opendir(folder);
	struct dirent *e;

	require(dir);
	while ((e = readdir(dir)))
		if (strcmp(e->d_name, ".") && strcmp(e->d_name, ".."))
			unlinkat(dirfd(dir), e->d_name, 0);
	closedir(dir);
	require(!rmdir(folder));
	folder[0] = '\0';
}

const char *fake_file(const char *name, const void *data, size_t size)
{
	static char path[128];
	cleanup_fd int fd = -1;

	snprintf(path, sizeof(path), "%s/%s", fake_folder(), name);
	fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	require(fd >= 0 && !ftruncate(fd, (off_t)size));
	if (data)
		require(pwrite(fd, data, size, 0) == (ssize_t)size);
	return path;
}

static unsigned entries(const char *path)
{
	DIR *dir = opendir(path);
	unsigned n = 0;

	require(dir);
	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

unsigned fake_fds(void)
{
	return entries("/proc/self/fd");
}

unsigned fake_threads(void)
{
	return entries("/proc/self/task");
}

/* --- numbers --- */

uint32_t fake_random(uint32_t *s)
{
	*s ^= *s << 13;
	*s ^= *s >> 17;
	*s ^= *s << 5;
	return *s;
}

uint64_t fake_odd(uint32_t *s)
{
	/* clang-format off */
	static const uint64_t odd[] = {
		0, 1, 2, 3, 15, 16, 17, 127, 128, 129, 130, 131, 255, 256, 257, 511, 512, 513,
		0xfff, 0x1000, 0x7fff, 0x8000, 0xffff, 0x7fffffff, 0x80000000, 0xfffffe00,
		0xfffffff0, 0xffffffff, 0x100000000, INT64_MAX, 1ULL << 63,
		UINT64_MAX - 4095, UINT64_MAX - 15, UINT64_MAX - 1, UINT64_MAX,
		FAKE_LOW_END - 4096, FAKE_LOW_END - 512, FAKE_LOW_END - 16, FAKE_LOW_END - 1,
		FAKE_LOW_END, FAKE_LOW_END + 1, FAKE_HIGH - 1, FAKE_HIGH,
		FAKE_HIGH + FAKE_HIGH_SLOT - 1, FAKE_HIGH + FAKE_HIGH_SLOT,
		FAKE_HIGH_END - 16, FAKE_HIGH_END - 1, FAKE_HIGH_END,
	};
	/* clang-format on */

	return odd[fake_random(s) % ARRAY_SIZE(odd)];
}
