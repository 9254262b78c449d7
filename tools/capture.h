/* capture.h - what a command says, held for the result (layer 6) */
#ifndef HUTCH_CAPTURE_H
#define HUTCH_CAPTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define CAPTURE_MAX (16U << 20) /* bytes of each stream */

struct capture {
	struct held {
		char *data;
		size_t len, size, most;
		bool cut; /* there was more */
	} held[2];	  /* stdout, stderr */
};

/* 0: no limit but CAPTURE_MAX */
void capture_begin(struct capture *c, uint64_t out_max, uint64_t err_max);
/* for struct hutch_request: @arg is the capture, @stream 1 or 2 */
void capture_put(void *arg, unsigned stream, const void *data, size_t len);
/*
 * capture_write() - the members "stdout", "stderr" and "encoding", a comma in front of each
 *
 * Both are text ("utf-8") if both are that; else both are "base64".  What was cut within a
 * character ends before it: here, or, as @cut says of each, by who called capture_put().
 */
void capture_write(const struct capture *c, const bool cut[2], FILE *out);
void capture_end(struct capture *c);

#endif
