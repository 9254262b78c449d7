/*
 * fuzz_client - what a hostile agent says, against the host's side of the connection
 *
 * The input is commands to an agent: one byte that says which frame, then its
 * stream, a length and a value; so most of it is a well-formed frame with a lie
 * in it.  Some are raw bytes.  The client may end the connection, and must keep
 * to its bounds: what it holds, what it passes on, what it shows.
 */
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include "client.h"
#include "fuzz_input.h"

#define MOST	  100000 /* of stdout */
#define FRAMES	  200
#define HELD_MOST (1 << 20) /* of what waits for the agent */

static void frame(struct proto_buf *b, struct input *in)
{
	static const uint8_t types[] = { PROTO_HELLO,  PROTO_DATA,  PROTO_DATA, PROTO_EOF,
					 PROTO_CREDIT, PROTO_CLOSE, PROTO_PONG, PROTO_STARTED,
					 PROTO_EXIT,   PROTO_ERROR, PROTO_DONE, PROTO_PING,
					 PROTO_EXEC,   PROTO_LOG,   0,		PROTO_TYPES };
	static uint8_t block[PROTO_DATA_MAX];
	uint8_t how = byte(in), type = types[how % 16], stream = byte(in) % 4;
	unsigned len = word(in);
	uint8_t header[PROTO_HEADER];

	if (how >= 240) { /* anything */
		for (unsigned i = 0; i < len % 64; i++)
			proto_raw(b, &(uint8_t){ byte(in) }, 1);
		return;
	}
	if (type == PROTO_DATA) {
		len %= sizeof(block) + 2;
		proto_put_header(header, type, stream, len);
		proto_raw(b, header, sizeof(header));
		proto_raw(b, block, MIN(len, sizeof(block)));
		return;
	}
	proto_begin(b, type, stream);
	if (type == PROTO_HELLO)
		proto_number(b, TAG_MAGIC, how & 16 ? PROTO_MAGIC : number(in));
	if (type == PROTO_CREDIT)
		proto_raw(b, &(uint32_t){ (uint32_t)number(in) }, 4);
	if (type == PROTO_EXIT || type == PROTO_ERROR || type == PROTO_STARTED || type == PROTO_LOG)
		for (unsigned i = 0; i < len % 4; i++) {
			uint16_t tag = byte(in);

			if (how & 32)
				proto_bytes(b, tag, in->p, MIN(in->left, (size_t)len % 700));
			else
				proto_number(b, tag, number(in));
		}
	b->failed = false;
	/* a length that is not one of this type stays 0 */
	proto_end(b);
	b->failed = false;
}

static void look(const struct client *c)
{
	const struct client_sink *s = &c->sink[0];

	require(s->total <= MOST);
	require(c->in.credit <= PROTO_WINDOW);
	require(c->out.len <= HELD_MOST && c->sent <= c->out.len);
	for (int i = 0; i < 2; i++)
		require(c->sink[i].used <= PROTO_WINDOW && c->sink[i].head < PROTO_WINDOW);
	if (c->ended)
		require(c->end.status <= 255);
	for (const char *t = c->end.text; *t; t++)
		require((uint8_t)*t >= ' ' && *t != 0x7f);
	require(strlen(c->end.text) < sizeof(c->end.text));
}

static unsigned logged;

static void on_log(void *arg, unsigned level, const char *text)
{
	require(arg == &logged && level <= LEVEL_INFO && strlen(text) < PROTO_LOG_MAX);
	for (; *text; text++)
		require((uint8_t)*text >= ' ' && *text != 0x7f);
	require(++logged <= CLIENT_LOGS + 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, size };
	struct proto_buf say = { .data = NULL }, none = { .data = NULL };
	static char away[65536];
	int pair[2], out[2], r = 0, zero = open("/dev/zero", O_RDONLY | O_CLOEXEC);
	struct client c;
	uint8_t how = byte(&in);

	signal(SIGPIPE, SIG_IGN);
	require(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
	require(!pipe2(out, O_CLOEXEC | O_NONBLOCK));
	client_init(&c);
	logged = 0;
	if (how & 32)
		client_logs(&c, on_log, &logged);
	c.fd = pair[0];
	c.state = how & 1 ? CLIENT_BUSY : CLIENT_HELLO;
	client_source(&c, how & 2 ? zero : -1);
	client_sink(&c, 0, how & 4 ? out[1] : -1, MOST);
	client_sink(&c, 1, out[1], 0);
	client_request(&c, &none, how >> 6);
	if (!(how & 1))
		proto_raw(&say, "OK 1\n", how & 8 ? 5 : (how >> 5) % 6);
	for (unsigned i = 0; i < FRAMES && in.left && (!r || r == -ETIMEDOUT); i++) {
		frame(&say, &in);
		(void)!send(pair[1], say.data, say.len, MSG_DONTWAIT | MSG_NOSIGNAL);
		say.len = 0;
		do {
			r = client_pump(&c, 0, -1);
		} while (r == -EINPROGRESS);
		look(&c);
		if (!r)
			break;
		if (how & 16) /* somebody reads on both sides */
			(void)!(read(out[0], away, sizeof(away)) +
				recv(pair[1], away, sizeof(away), MSG_DONTWAIT));
		client_silence(&c);
	}
	client_close(&c);
	proto_free(&say);
	close(pair[1]);
	close(out[0]);
	close(out[1]);
	close(zero);
	return 0;
}
