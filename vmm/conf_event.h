/*
 * conf_event.h - a configuration file as a row of events, whatever its language (layer 1)
 *
 * conf_yaml.c and conf_toml.c make them, conf_read.c walks them along the field
 * tables.  So what a key takes, and what is said of a wrong one, is the same in
 * each language.
 */
#ifndef HUTCH_CONF_EVENT_H
#define HUTCH_CONF_EVENT_H

#include "conf.h"

#define CONF_FILE_MAX MiB

/* around what a file says that nobody named; conf_fence.c has why */
struct conf_fence {
	char folder[CONF_PATH]; /* where its paths have to lead: absolute, without links */
	char file[CONF_PATH];	/* what to name, to be rid of it */
};

/* @what, "FILE:LINE: KEY", begins their messages.  -EACCES: it is not for such a file */
int conf_fence_key(const struct conf_fence *fence, const struct field *f,
		   const char *what) must_check;
/* the value of @f in @conf, of a list the elements from @first on; paths become what they lead to
 */
int conf_fence_value(const struct conf_fence *fence, const struct field *f, const char *what,
		     unsigned first, struct conf *conf) must_check;
int conf_fence_path(const struct conf_fence *fence, const char *what,
		    char path[CONF_PATH]) must_check;

enum conf_event_type {
	CONF_SCALAR, /* a value, or the key before one */
	CONF_LIST,
	CONF_LIST_END,
	CONF_MAP,
	CONF_MAP_END,
	CONF_END, /* of the file */
};

struct conf_event {
	enum conf_event_type type;
	size_t line;	  /* from 1 */
	const char *text; /* CONF_SCALAR: until the next event */
	bool null;	  /* CONF_SCALAR: there is no value */
	bool table;	  /* a key whose list goes on here, if it was begun in the same way */
};

struct conf_events {
	const char *name; /* of the file, in messages */
	int (*next)(struct conf_events *in, struct conf_event *ret);
};

/* all events, a mapping, into @conf, within @fence unless that is NULL: -EINVAL, -E2BIG, -ERANGE,
 * -EACCES with file:line */
int conf_read(struct conf_events *in, struct conf *conf, struct conf_origins *origins,
	      const struct conf_fence *fence) must_check;

/* what conf_load_text() does, of one language each */
int conf_load_yaml(struct conf *conf, const char *name, const void *text, size_t len,
		   struct conf_origins *origins, const struct conf_fence *fence) must_check;
int conf_load_toml(struct conf *conf, const char *name, const void *text, size_t len,
		   struct conf_origins *origins, const struct conf_fence *fence) must_check;

#endif
