/*
 * log.h - what hutch says while it runs (layer 0)
 *
 * One write(2) a line, to stderr unless told otherwise, so that lines of many
 * threads and processes never mix.  What a guest provokes goes through
 * log_guest(): a guest can fill neither a disk nor a reader's patience.
 */
#ifndef HUTCH_LOG_H
#define HUTCH_LOG_H

#include "base.h"

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

void log_setup(int fd, enum log_level most); /* before threads start */
void log_line(enum log_level level, const char *fmt, ...) printf_like(2, 3);

#define log_error(...) log_line(LOG_ERROR, __VA_ARGS__)
#define log_warn(...)  log_line(LOG_WARN, __VA_ARGS__)
#define log_info(...)  log_line(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_line(LOG_DEBUG, __VA_ARGS__)

/* a whole line with its newline, as it is: the one thing here that a signal handler may call */
void log_from_signal(const char *line, size_t len);

/* at most LOG_BURST lines in LOG_WINDOW_NS; the next window tells how many were left out */
#define LOG_BURST     5
#define LOG_WINDOW_NS 10000000000ULL

struct log_limit {
	uint64_t window_start;
	unsigned lines, left_out;
};

void log_guest(struct log_limit *limit, const char *fmt, ...) printf_like(2, 3);

#endif
