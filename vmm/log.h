/*
 * log.h - what hutch says while it runs (layer 0)
 *
 * 1. One write(2) a line, of at most LOG_LINE bytes, which is what a pipe takes
 *    as one: lines of many threads and processes never mix.
 * 2. A line is text, or one JSON object: ts, level, id, name, event and its
 *    members if it is one, msg, and code where the message has one ("E_KVM").
 *    Nothing of a message can end or forge a line or command a terminal:
 *    control bytes and what is no UTF-8 are escaped, and what is too long is
 *    cut between two characters ("cut").
 * 3. What a guest provokes goes through log_guest(): a guest can fill neither a
 *    disk nor a reader's patience.
 * 4. Nothing here allocates, locks or uses stdio but for formatting: a line
 *    whose text is ready may be written by a signal handler.
 */
#ifndef HUTCH_LOG_H
#define HUTCH_LOG_H

#include "base.h"

#define LOG_LINE 4096 /* PIPE_BUF, and no page more */
#define LOG_TEXT 2048 /* of a message */
#define LOG_ID	 129
#define LOG_NAME 64

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

/* lines of text to @fd have their time and id in front unless it is stderr; -1: nowhere */
void log_to(int fd, bool json);
void log_copy(int fd); /* each line, as JSON, here too; -1: no */
/* before threads start: what each line is about; NULL leaves one as it is */
void log_about(const char *id, const char *name);
void log_setup(int fd, enum log_level most);

void log_line(enum log_level level, const char *fmt, ...) printf_like(2, 3);

#define log_error(...) log_line(LOG_ERROR, __VA_ARGS__)
#define log_warn(...)  log_line(LOG_WARN, __VA_ARGS__)
#define log_info(...)  log_line(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_line(LOG_DEBUG, __VA_ARGS__)

/* a text that is ready, without a word for its level; the one
 * thing here that a signal handler may call */
void log_text(enum log_level level, const char *text);
/* what happened, with members of its own (",\"key\":1", all or none of them), where lines are JSON;
 * as text it is not told */
void log_event(enum log_level level, const char *name, const char *members, const char *text);
/* a text as one line of JSON, to @fd alone */
void log_text_to(int fd, enum log_level level, const char *text);

/* at most LOG_BURST lines in LOG_WINDOW_NS; the next window tells how many were left out */
#define LOG_BURST     5
#define LOG_WINDOW_NS 10000000000ULL

struct log_limit {
	uint64_t window_start;
	unsigned lines, left_out;
};

/* is there room for one more of @burst lines? *@ret_left_out is
 * what a window that ended now left out */
bool log_admit(struct log_limit *limit, unsigned burst, unsigned *ret_left_out);
void log_guest(struct log_limit *limit, const char *fmt, ...) printf_like(2, 3);

#endif
