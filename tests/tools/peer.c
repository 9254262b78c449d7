/*
 * peer - both ends of a stream, for tests and benchmarks of sockets
 *
 *	peer [-w SECONDS] echo ADDRESS [CONNECTIONS]	send back what comes; then the number served
 *	peer [-w SECONDS] send ADDRESS BYTES		send a pattern, and wait until it was taken
 *	peer [-w SECONDS] sink ADDRESS			take and check that pattern
 *	peer [-w SECONDS] rr ADDRESS COUNT [SIZE]	round trips with an echo peer
 *	peer [-w SECONDS] calls ADDRESS COUNT [SIZE]	the same, each on a connection of its own
 *	peer [-w SECONDS] many ADDRESS N [BYTES]	N connections at once with an echo peer,
 *checked
 *
 * Addresses: vsock:CID:PORT vsock-listen:PORT unix:PATH unix-listen:PATH tcp:IP:PORT
 * tcp-listen:IP:PORT and fc:PATH:PORT, a Unix socket that is told "CONNECT PORT" first.
 * With -w a connection that is refused is tried again for so long.  BYTES may end in K, M or G.
 *
 * One line of figures at the end; exit status 1 after any mismatch or error.  It stands alone, and
 * is linked static so that it also runs in a guest that has nothing else.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/vm_sockets.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define CHUNK 65536
#define MANY  4096 /* connections */

static void die(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));
static void die(const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "peer: ");
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, "\n");
	exit(1);
}

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static uint64_t number(const char *text)
{
	char *end;
	uint64_t v = strtoull(text, &end, 0);

	switch (*end) {
	case 'G':
		v <<= 10; /* fall through */
	case 'M':
		v <<= 10; /* fall through */
	case 'K':
		v <<= 10;
		end++;
	}
	if (*end || end == text)
		die("'%s' is no number", text);
	return v;
}

/* --- the pattern: a table as long as a prime, so that what is cut, moved or doubled does not fit
 * --- */

#define PRIME 65521

static const uint8_t *pattern(uint64_t at, uint64_t stream)
{
	static uint8_t table[PRIME + CHUNK];

	if (!table[1])
		for (uint32_t i = 0, v = 1; i < PRIME + CHUNK; i++) {
			v = i % PRIME ? v * 1103515245 + 12345 : 1;
			table[i] = (uint8_t)(v >> 16 | (i % PRIME == 1));
		}
	return table + (at + stream * 977) % PRIME;
}

static void fill(uint8_t *buf, uint64_t at, size_t n, uint64_t stream)
{
	memcpy(buf, pattern(at, stream), n);
}

static void check(const uint8_t *buf, uint64_t at, size_t n, uint64_t stream)
{
	const uint8_t *want = pattern(at, stream);

	for (size_t i = 0; memcmp(buf, want, n) && i < n; i++)
		if (buf[i] != want[i])
			die("stream %lu, byte %lu is %#x and not %#x", (unsigned long)stream,
			    (unsigned long)(at + i), buf[i], want[i]);
}

/* --- addresses --- */

struct address {
	union {
		struct sockaddr sa;
		struct sockaddr_vm vm;
		struct sockaddr_un un;
		struct sockaddr_in in;
	};
	socklen_t len;
	bool listens;
	const char *hello; /* port of fc:, NULL otherwise */
};

static char *cut_port(char *text)
{
	char *colon = strrchr(text, ':');

	if (!colon)
		die("'%s': a port is missing", text);
	*colon = '\0';
	return colon + 1;
}

static struct address parse(const char *text)
{
	char *rest = strdup(strchr(text, ':') ? strchr(text, ':') + 1 : ""), *port;
	struct address a = { .len = 0 };
	char kind[32];

	snprintf(kind, sizeof(kind), "%.*s", (int)strcspn(text, ":"), text);
	a.listens = strstr(kind, "-listen") != NULL;
	if (!strcmp(kind, "vsock") || !strcmp(kind, "vsock-listen")) {
		port = a.listens ? rest : cut_port(rest);
		a.vm.svm_family = AF_VSOCK;
		a.vm.svm_cid = a.listens ? VMADDR_CID_ANY : (unsigned)number(rest);
		a.vm.svm_port = (unsigned)number(port);
		a.len = sizeof(a.vm);
	} else if (!strncmp(kind, "unix", 4) || !strcmp(kind, "fc")) {
		a.hello = *kind == 'f' ? cut_port(rest) : NULL;
		a.un.sun_family = AF_UNIX;
		snprintf(a.un.sun_path, sizeof(a.un.sun_path), "%s", rest);
		a.len = sizeof(a.un);
	} else if (!strncmp(kind, "tcp", 3)) {
		port = cut_port(rest);
		a.in.sin_family = AF_INET;
		a.in.sin_port = htons((uint16_t)number(port));
		if (inet_pton(AF_INET, rest, &a.in.sin_addr) != 1)
			die("'%s' is no IPv4 address", rest);
		a.len = sizeof(a.in);
	} else {
		die("'%s' is no address", text);
	}
	return a;
}

static int listen_at(const struct address *a)
{
	int fd = socket(a->sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

	if (a->sa.sa_family == AF_UNIX)
		unlink(a->un.sun_path);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (fd < 0 || bind(fd, &a->sa, a->len) || listen(fd, MANY))
		die("listen: %s", strerror(errno));
	return fd;
}

/* "CONNECT port" and the line that answers it, byte by byte: what follows is data */
static bool say_hello(int fd, const char *port)
{
	char line[64];
	int n = snprintf(line, sizeof(line), "CONNECT %s\n", port);

	if (write(fd, line, (size_t)n) != n)
		return false;
	for (n = 0; n < (int)sizeof(line) - 1; n++) {
		if (read(fd, line + n, 1) != 1)
			return false;
		if (line[n] == '\n')
			break;
	}
	return !strncmp(line, "OK ", 3);
}

static int connect_to(const struct address *a, double wait)
{
	double end = now() + wait;

	for (;; usleep(20000)) {
		int fd = socket(a->sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

		errno = 0;
		if (fd >= 0 && !connect(fd, &a->sa, a->len) &&
		    (!a->hello || say_hello(fd, a->hello)))
			return fd;
		if (now() >= end)
			die("connect: %s", errno ? strerror(errno) : "refused");
		close(fd);
	}
}

static int accept_one(int listener)
{
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

	if (fd < 0)
		die("accept: %s", strerror(errno));
	return fd;
}

/* one connection, whoever begins */
static int open_one(const struct address *a, double wait)
{
	return a->listens ? accept_one(listen_at(a)) : connect_to(a, wait);
}

static void write_all(int fd, const void *buf, size_t n)
{
	for (const char *p = buf; n;) {
		ssize_t k = write(fd, p, n);

		if (k <= 0)
			die("write: %s", strerror(errno));
		p += k;
		n -= (size_t)k;
	}
}

static void read_all(int fd, void *buf, size_t n)
{
	for (char *p = buf; n;) {
		ssize_t k = read(fd, p, n);

		if (k <= 0)
			die("read: %s", k ? strerror(errno) : "the other end closed");
		p += k;
		n -= (size_t)k;
	}
}

/* --- verbs --- */

static void run_send(const struct address *a, double wait, uint64_t bytes)
{
	static uint8_t buf[CHUNK];
	int fd = open_one(a, wait);
	double start = now();

	for (uint64_t at = 0; at < bytes;) {
		size_t n = bytes - at < CHUNK ? (size_t)(bytes - at) : CHUNK;

		fill(buf, at, n, 0);
		write_all(fd, buf, n);
		at += n;
	}
	shutdown(fd, SHUT_WR);
	if (read(fd, buf, 1) > 0)
		die("a sink does not speak");
	printf("sent %lu bytes %.3f s %.1f MB/s\n", (unsigned long)bytes, now() - start,
	       (double)bytes / 1e6 / (now() - start));
}

static void run_sink(const struct address *a, double wait)
{
	static uint8_t buf[CHUNK];
	int fd = open_one(a, wait);
	double start = 0;
	uint64_t at = 0;
	ssize_t n;

	while ((n = read(fd, buf, sizeof(buf))) > 0) {
		if (!at)
			start = now();
		check(buf, at, (size_t)n, 0);
		at += (uint64_t)n;
	}
	if (n < 0)
		die("read: %s after %lu bytes", strerror(errno), (unsigned long)at);
	start = at ? now() - start : 1;
	printf("received %lu bytes %.3f s %.1f MB/s\n", (unsigned long)at, start,
	       (double)at / 1e6 / start);
}

static int by_size(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

static void run_rr(const struct address *a, double wait, uint64_t count, size_t size, bool calls)
{
	double *took = calloc(count, sizeof(*took)), start;
	uint8_t *buf = malloc(size), *back = malloc(size);
	int fd = calls ? -1 : open_one(a, wait);

	if (!took || !buf || !back || !count || !size || size > CHUNK)
		die("a count and a size of up to %d are needed, and memory for them", CHUNK);
	start = now();
	for (uint64_t i = 0; i < count; i++) {
		double t = now();

		if (calls)
			fd = connect_to(a, wait);
		fill(buf, i, size, i);
		write_all(fd, buf, size);
		read_all(fd, back, size);
		if (calls)
			close(fd);
		took[i] = now() - t;
		if (memcmp(buf, back, size))
			die("round trip %lu brought something else", (unsigned long)i);
	}
	start = now() - start;
	qsort(took, count, sizeof(*took), by_size);
	printf("%s %lu x %zu bytes: p50 %.1f us p99 %.1f us %.0f/s\n", calls ? "calls" : "rr",
	       (unsigned long)count, size, took[count / 2] * 1e6, took[count * 99 / 100] * 1e6,
	       (double)count / start);
}

/* one connection of echo (sends what it has got) or of many (sends its pattern, checks it) */
struct stream {
	int fd;
	uint64_t id, sent, got, bytes;
	size_t have, off;
	bool ended;
	uint8_t *buf;
};

static struct stream stream_of(int fd, uint64_t id, uint64_t bytes)
{
	struct stream s = { .fd = fd, .id = id, .bytes = bytes, .buf = malloc(CHUNK) };

	if (!s.buf)
		die("out of memory");
	fcntl(fd, F_SETFL, O_NONBLOCK);
	return s;
}

static void stream_close(struct stream *s)
{
	close(s->fd);
	free(s->buf);
	s->fd = -1;
}

/* false when the connection has ended */
static bool echo_step(struct stream *s)
{
	ssize_t n;

	if (!s->have) {
		n = read(s->fd, s->buf, CHUNK);
		if (n <= 0)
			return n < 0 && errno == EAGAIN;
		s->have = (size_t)n;
		s->off = 0;
	}
	n = write(s->fd, s->buf + s->off, s->have);
	if (n < 0)
		return errno == EAGAIN;
	s->off += (size_t)n;
	s->have -= (size_t)n;
	return true;
}

static void run_echo(const struct address *a, double wait, uint64_t count)
{
	static struct stream s[MANY];
	static struct pollfd p[MANY + 1];
	int listener = a->listens ? listen_at(a) : -1;
	uint64_t taken = 0, ended = 0;
	unsigned n = 0;

	if (listener < 0) {
		s[n++] = stream_of(connect_to(a, wait), 0, 0);
		taken = count = 1;
	}
	while (ended < count) {
		for (unsigned i = 0; i < n; i++)
			p[i] = (struct pollfd){ s[i].fd, s[i].have ? POLLOUT : POLLIN, 0 };
		p[n] = (struct pollfd){ taken < count && n < MANY ? listener : -1, POLLIN, 0 };
		if (poll(p, n + 1, -1) < 0)
			die("poll: %s", strerror(errno));
		if (p[n].revents) {
			s[n] = stream_of(accept_one(listener), taken++, 0);
			p[n++].revents = 0;
		}
		for (unsigned i = n; i-- > 0;) {
			if (!p[i].revents || echo_step(&s[i]))
				continue;
			stream_close(&s[i]);
			s[i] = s[--n];
			ended++;
		}
	}
	printf("echoed %lu connections\n", (unsigned long)ended);
}

/* false when it has got back all it sent, and the end */
static bool many_step(struct stream *s, short events)
{
	ssize_t n;

	if (events & POLLOUT && s->sent < s->bytes) {
		size_t k = s->bytes - s->sent < CHUNK ? (size_t)(s->bytes - s->sent) : CHUNK;

		fill(s->buf, s->sent, k, s->id);
		n = write(s->fd, s->buf, k);
		if (n < 0 && errno != EAGAIN)
			die("connection %lu: write: %s", (unsigned long)s->id, strerror(errno));
		s->sent += n > 0 ? (uint64_t)n : 0;
		if (s->sent == s->bytes)
			shutdown(s->fd, SHUT_WR);
	}
	n = read(s->fd, s->buf, CHUNK);
	if (n < 0 && errno == EAGAIN)
		return true;
	if (n < 0)
		die("connection %lu: read: %s", (unsigned long)s->id, strerror(errno));
	check(s->buf, s->got, (size_t)n, s->id);
	s->got += (uint64_t)n;
	if (!n && s->got != s->bytes)
		die("connection %lu: ended after %lu of %lu bytes", (unsigned long)s->id,
		    (unsigned long)s->got, (unsigned long)s->bytes);
	return n > 0;
}

static void run_many(const struct address *a, double wait, uint64_t count, uint64_t bytes)
{
	static struct stream s[MANY];
	static struct pollfd p[MANY];
	unsigned left = (unsigned)count;
	double start = now(), opened;

	if (!count || count > MANY)
		die("%lu connections; 1 to %d are taken", (unsigned long)count, MANY);
	for (unsigned i = 0; i < count; i++)
		s[i] = stream_of(connect_to(a, wait), i, bytes + i);
	opened = now() - start;
	while (left) {
		for (unsigned i = 0; i < count; i++)
			p[i] = (struct pollfd){ s[i].fd,
						POLLIN | (s[i].sent < s[i].bytes ? POLLOUT : 0),
						0 };
		if (poll(p, (nfds_t)count, 30000) <= 0)
			die("%u connections hang", left);
		for (unsigned i = 0; i < count; i++) {
			if (!p[i].revents || many_step(&s[i], p[i].revents))
				continue;
			stream_close(&s[i]);
			left--;
		}
	}
	printf("many %lu connections of %lu bytes: opened in %.3f s, done in %.3f s\n",
	       (unsigned long)count, (unsigned long)bytes, opened, now() - start);
}

int main(int argc, char **argv)
{
	struct rlimit files = { MANY + 64, MANY + 64 };
	struct address a;
	const char *verb;
	double wait = 0;
	uint64_t n;

	signal(SIGPIPE, SIG_IGN);
	if (setrlimit(RLIMIT_NOFILE, &files) && !getrlimit(RLIMIT_NOFILE, &files)) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	if (argc > 2 && !strcmp(argv[1], "-w")) {
		wait = (double)number(argv[2]);
		argc -= 2;
		argv += 2;
	}
	if (argc < 3)
		die("usage: peer [-w SECONDS] echo|send|sink|rr|calls|many ADDRESS [NUMBERS]");
	verb = argv[1];
	a = parse(argv[2]);
	n = argc > 3 ? number(argv[3]) : 1;
	if (!strcmp(verb, "echo"))
		run_echo(&a, wait, n);
	else if (!strcmp(verb, "send"))
		run_send(&a, wait, n);
	else if (!strcmp(verb, "sink"))
		run_sink(&a, wait);
	else if (!strcmp(verb, "rr"))
		run_rr(&a, wait, n, argc > 4 ? number(argv[4]) : 1, false);
	else if (!strcmp(verb, "calls"))
		run_rr(&a, wait, n, argc > 4 ? number(argv[4]) : 1, true);
	else if (!strcmp(verb, "many"))
		run_many(&a, wait, n, argc > 4 ? number(argv[4]) : 20000);
	else
		die("'%s' is none of echo, send, sink, rr, calls, many", verb);
	return 0;
}
