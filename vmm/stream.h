/*
 * stream.h - the host's end of a guest console (layer 2)
 *
 * Output goes into a ring of fixed size and from there to the fd when that
 * takes it.  A reader that stalls costs bytes, which are counted, and never
 * blocks a vCPU or grows memory.  Input is offered to the device as it has
 * room.  Everything but stream_put() is for the loop's thread.
 */
#ifndef HUTCH_STREAM_H
#define HUTCH_STREAM_H

#include <pthread.h>

#include "log.h"
#include "loop.h"

#define STREAM_RING (256U << 10)

struct stream;

struct stream_ops {
	/* how many bytes of input the device takes now */
	size_t (*room)(void *arg);
	void (*input)(void *arg, const uint8_t *buf, size_t len);
};

/*
 * stream_new() - @spec: "-" (stdin and stdout), "none", "fd:IN:OUT" (-1 for
 * neither), or a file to append to.  NULL with a message.
 */
struct stream *stream_new(struct loop *loop, const char *spec);
void stream_free(struct stream *s); /* writes out what the fd takes at once */

void stream_attach(struct stream *s, const struct stream_ops *ops, void *arg);

/* show each line of output (its first 255 bytes) to @line, on
 * the thread that puts it; before output */
void stream_watch(struct stream *s, void (*line)(void *arg, const char *text), void *arg);

void stream_put(struct stream *s, const uint8_t *buf, size_t len); /* any thread; never blocks */
void stream_room(struct stream *s); /* the device has room for input again; any thread */

/* @len bytes of output that the device itself leaves out; any thread */
void stream_drop(struct stream *s, size_t len);

/* wait, at most @timeout_ns, until all output is written */
void stream_flush(struct stream *s, uint64_t timeout_ns);
uint64_t stream_dropped(struct stream *s);

#endif
