/*
 * field.h - one table describes a struct to everything outside it (layer 1)
 *
 * The configuration, each device's state and each vCPU's registers are plain
 * structs with a table of struct field beside them.  The same table parses the
 * command line and the config file, prints --help, writes the machine's tree,
 * saves and loads state, and feeds `hutch inspect`.  Nothing in such a struct
 * is a pointer: it can be copied, compared and saved as it stands.
 */
#ifndef HUTCH_FIELD_H
#define HUTCH_FIELD_H

#include "base.h"

enum field_kind {
	FIELD_UINT,   /* uint8_t .. uint64_t */
	FIELD_BOOL,   /* bool; in text: yes, no, true, false, on, off */
	FIELD_SIZE,   /* uint64_t; in text: 512M */
	FIELD_TIME,   /* uint64_t of milliseconds; in text: 30s */
	FIELD_ENUM,   /* uint32_t, an index into names; saved by its name */
	FIELD_STR,    /* char[], NUL-terminated */
	FIELD_BYTES,  /* opaque bytes */
	FIELD_BLOB,   /* bytes, of which a uint32_t beside them says how many are used */
	FIELD_STRUCT, /* one struct, or count of them */
	FIELD_LIST,   /* up to count structs, of which a uint32_t says how many are used */
};

struct field {
	const char *name; /* NULL ends a table */
	uint8_t kind;
	uint16_t count;	   /* FIELD_STRUCT, FIELD_LIST: elements; else 1 */
	uint32_t off;	   /* where in the struct */
	uint32_t size;	   /* of one element */
	uint32_t used_off; /* FIELD_LIST, FIELD_BLOB: where the count of used elements is */
	uint64_t lo, hi;   /* accepted range of numbers */
	const struct field *sub;
	const char *const *names; /* FIELD_ENUM: NULL-terminated */
	const char *punct; /* FIELD_STR: what is taken beside letters and digits, NULL: anything */
	const char *dflt;  /* as text; a struct is valid after field_defaults() */
	const char *arg, *help; /* for people; a field without help is not shown to them */
	bool live;		/* the configuration: may be changed while the machine runs */
	bool box;		/* the configuration: of a sandbox, not of the machine alone */
	bool file;		/* the configuration: for files alone */
	bool inner;		/* the configuration: a file that nobody named may set it */
	bool path;		/* the configuration: a file or folder of this host */
	bool made;		/* the configuration: the guest knows it, so a snapshot keeps it */
	bool anew;  /* within such a one: it is the host's, and a restore may change it */
	bool named; /* such a one that may be a name without a / instead */
};

#define FIELD_NUM(k, s, f, l, h, ...)                                         \
	{                                                                     \
		.name = #f, .kind = (k), .count = 1, .off = offsetof(s, f),   \
		.size = sizeof_field(s, f), .lo = (l), .hi = (h), __VA_ARGS__ \
	}

#define F_UINT(s, f, ...)	 FIELD_NUM(FIELD_UINT, s, f, 0, UINT64_MAX, __VA_ARGS__)
#define F_RANGE(s, f, l, h, ...) FIELD_NUM(FIELD_UINT, s, f, l, h, __VA_ARGS__)
#define F_BOOL(s, f, ...)	 FIELD_NUM(FIELD_BOOL, s, f, 0, 1, __VA_ARGS__)
#define F_SIZE(s, f, l, h, ...)	 FIELD_NUM(FIELD_SIZE, s, f, l, h, __VA_ARGS__)
#define F_TIME(s, f, ...)	 FIELD_NUM(FIELD_TIME, s, f, 0, UINT64_MAX, __VA_ARGS__)
#define F_ENUM(s, f, n, ...)	 FIELD_NUM(FIELD_ENUM, s, f, 0, 0, .names = (n), __VA_ARGS__)
#define F_STR(s, f, ...)	 FIELD_NUM(FIELD_STR, s, f, 0, 0, __VA_ARGS__)
#define F_BYTES(s, f, ...)	 FIELD_NUM(FIELD_BYTES, s, f, 0, 0, __VA_ARGS__)
#define F_BLOB(s, f, n)		 FIELD_NUM(FIELD_BLOB, s, f, 0, 0, .used_off = offsetof(s, n))
#define F_STRUCT(s, f, t)	 FIELD_NUM(FIELD_STRUCT, s, f, 0, 0, .sub = (t))
#define FIELD_MANY(k, s, f, t, ...)                                                               \
	{                                                                                         \
		.name = #f, .kind = (k), .count = ARRAY_SIZE(((s *)0)->f), .off = offsetof(s, f), \
		.size = sizeof(((s *)0)->f[0]), .sub = (t), __VA_ARGS__                           \
	}
#define F_ARRAY(s, f, t) FIELD_MANY(FIELD_STRUCT, s, f, t)
#define F_LIST(s, f, n, t, ...) \
	FIELD_MANY(FIELD_LIST, s, f, t, .used_off = offsetof(s, n), __VA_ARGS__)
#define F_END                \
	{                    \
		.name = NULL \
	}

#define for_each_field(f, table) for (const struct field *f = (table); f->name; f++)

static inline void *field_at(const struct field *f, const void *obj, unsigned i)
{
	return (char *)(uintptr_t)obj + f->off + (size_t)i * f->size;
}

static inline uint32_t *field_used(const struct field *f, const void *obj)
{
	return (uint32_t *)(void *)((char *)(uintptr_t)obj + f->used_off);
}

/* a dash in @name stands for an underscore */
const struct field *field_find(const struct field *table, const char *name);

/* an unsigned number of 1, 2, 4 or 8 bytes, wherever it lies */
uint64_t field_get(const struct field *f, const void *obj);
void field_put(const struct field *f, void *obj, uint64_t v);

/*
 * field_parse() - set one value from text
 *
 * FIELD_STRUCT and FIELD_LIST take "VALUE,KEY=VALUE,KEY": the first field may
 * be given without its name, a bool without its value; a list appends.
 * -EINVAL, -ERANGE or -E2BIG with a message that names @what, the value and
 * what would be right.
 */
int field_parse(const struct field *f, const char *what, const char *text, void *obj) must_check;

/* field_set() - field_parse() of @table's field @name; an unknown one is answered with the nearest
 */
int field_set(const struct field *table, const char *what, const char *name, const char *text,
	      void *obj) must_check;

/*
 * field_change() - as field_parse() with "VALUE,KEY=VALUE", into element @i that is there already
 *
 * FIELD_STRUCT and FIELD_LIST only.  @obj may be half changed on failure.
 */
int field_change(const struct field *f, const char *what, const char *text, unsigned i,
		 void *obj) must_check;

/* -EINVAL: @table has no @name, and which one was meant */
int field_unknown(const struct field *table, const char *what, const char *name);

/* set every field of @obj to its default (zero where the table names none) */
void field_defaults(const struct field *table, void *obj, size_t size);

/* field_print() - a scalar's value as text that field_parse() reads back */
void field_print(const struct field *f, const void *obj, char *buf, size_t len);

#endif
