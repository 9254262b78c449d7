/* scripts_console.c - a guest with a virtio console: prints, is typed to, sees its terminal change
 */
#include <fcntl.h>
#include <linux/virtio_console.h>
#include <sys/mman.h>
#include <unistd.h>

#include "contract.h"
#include "devices.h"
#include "stream.h"

#define RX     0
#define TX     1
#define SIZE_F (1ULL << VIRTIO_CONSOLE_F_SIZE)

static const char first_size[16] = "80x25";

static void console_host(struct subject *x)
{
	char spec[32];

	require(!pipe2(x->input, O_CLOEXEC | O_NONBLOCK));
	x->output = memfd_create("output", MFD_CLOEXEC);
	require(x->output >= 0);
	snprintf(spec, sizeof(spec), "fd:%d:%d", x->input[0], x->output);
	x->stream = stream_new(x->f->m.loop, spec);
	require(x->stream);
}

static void console_refill(struct subject *x)
{
	char buf[256];

	while (read(x->input[0], buf, sizeof(buf)) > 0)
		;
	require(!dev_configure(x->dev, first_size));
}

static const void *console_conf(struct subject *x)
{
	(void)x;
	return first_size;
}

static void say(struct subject *x, const char *text)
{
	const struct guest_buf buf = { GUEST_DATA, (uint32_t)strlen(text), false };

	fake_poke(x->f, GUEST_DATA, text, strlen(text));
	guest_add(&x->g, TX, &buf, 1);
	guest_kick(&x->g, TX);
}

static void offer(struct subject *x, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		const struct guest_buf buf = { GUEST_DATA + 0x100 + 16 * i, 16, true };

		guest_add(&x->g, RX, &buf, 1);
	}
	guest_kick(&x->g, RX);
	fake_settle(x->f);
}

/* there have to be buffers for it: what waits in the host's pipe is not the machine's */
static void type_text(struct subject *x, const char *text)
{
	require(write(x->input[1], text, strlen(text)) == (ssize_t)strlen(text));
	for (unsigned i = 0; i < 4; i++)
		fake_settle(x->f);
}

static void look(struct subject *x)
{
	struct guest_used u;

	for (unsigned q = 0; q < 2; q++)
		while (x->g.q[q].size && guest_used(&x->g, q, &u))
			subject_note(x, q << 16 | u.id | (uint64_t)u.len << 32);
	subject_note(x, guest_read(&x->g, REG_STATUS) | guest_ack(&x->g) << 8);
}

static void console_step(struct subject *x, unsigned k)
{
	switch (k) {
	case 0:
		require(guest_start(&x->g, GUEST_VERSION_1 | GUEST_EVENT_IDX | SIZE_F, 2, 8));
		subject_note(x, guest_config(&x->g, 0, 4));
		break;
	case 1:
		say(x, "hello\n");
		break;
	case 2:
		offer(x, 3);
		break;
	case 3:
		type_text(x, "typed");
		break;
	case 4: /* longer than a buffer */
		type_text(x, "more than sixteen bytes");
		break;
	case 5:
		require(!dev_configure(x->dev, "100x30"));
		break;
	case 6:
		subject_note(x, guest_config(&x->g, 0, 4));
		offer(x, 2);
		break;
	case 7: /* made available, and not a word about it */
		guest_add(&x->g, TX, &(struct guest_buf){ GUEST_DATA, 6, false }, 1);
		return;
	case 8:
		guest_kick(&x->g, TX);
		fake_settle(x->f);
		break;
	case 9:
		type_text(x, "x");
		break;
	case 10: /* no room */
		guest_add(&x->g, RX, &(struct guest_buf){ GUEST_DATA, 6, false }, 1);
		type_text(x, "y");
		break;
	case 11:
		guest_reset(&x->g);
		require(guest_negotiate(&x->g, GUEST_VERSION_1 | SIZE_F));
		require(guest_queue(&x->g, RX, 8) && guest_queue(&x->g, TX, 8));
		break;
	case 12:
		guest_driver_ok(&x->g);
		say(x, "again\n");
		break;
	case 13:
		guest_reset(&x->g);
		break;
	}
	fake_settle(x->f);
	if (k != 12) /* an interrupt is left waiting */
		look(x);
}

const struct script console_script = {
	.type = &console_type,
	.host = console_host,
	.refill = console_refill,
	.conf = console_conf,
	.steps = 14,
	.step = console_step,
	.kept = { "cols", "rows" },
};
