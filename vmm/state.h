/*
 * state.h - structs with a field table to and from a flattened tree (layer 1)
 *
 * The tree is a flattened device tree, so fdtdump(1) reads any machine or
 * snapshot.  Encoding: numbers up to 32 bits are one cell, 64-bit ones two;
 * an enum is its name; a string never has a length of 4 or 8, so that a reader
 * without the table can tell it from a number.  Properties and nodes stand in
 * table order: one walk finds a missing, a renamed and an unknown one alike.
 */
#ifndef HUTCH_STATE_H
#define HUTCH_STATE_H

#include "field.h"

/*
 * state_check() - does @table name each byte of a struct of @size exactly once?
 *
 * -EINVAL with the place of the gap or overlap.  Unit tests call it for every
 * table, so a field that was added and not named fails them, not a restore.
 */
int state_check(const struct field *table, size_t size) must_check;

/* append @obj to the node now open in a tree that tree_begin() started: -ENOSPC */
int state_save(void *fdt, const struct field *table, const void *obj) must_check;

/*
 * state_load() - read @obj from @node; the tree is hostile until proven good
 *
 * -EINVAL names a property that is missing (and has no default), unknown or of
 * a wrong length, and a node within it that is missing or unknown (but not of the root's); -ERANGE
 * one whose value is out of range.  @obj is unchanged on failure only as far as its owner keeps a
 * copy.
 */
int state_load(const void *fdt, int node, const struct field *table, void *obj) must_check;

/* an empty tree in @buf with its root node open; finished by tree_end() */
int tree_begin(void *buf, size_t size) must_check;
int tree_end(void *buf) must_check; /* total bytes, or -ENOSPC */
int tree_node(void *fdt, const char *name) must_check;
int tree_node_end(void *fdt) must_check;

/* write the tree to @out as an indented listing, or as one JSON object */
void tree_print(const void *fdt, FILE *out, bool json);

#endif
