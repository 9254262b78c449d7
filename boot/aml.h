/*
 * aml.h - a writer of ACPI Machine Language and tables into a bounded buffer (layer 3)
 *
 * What does not fit is dropped and remembered: write everything, then ask
 * aml_done() once.  Wrong nesting and malformed names are mistakes of ours.
 */
#ifndef HUTCH_AML_H
#define HUTCH_AML_H

#include "base.h"

#define AML_DEPTH 8

enum aml_kind {
	AML_BLOCK,   /* Scope, Device, Method */
	AML_PACKAGE, /* its elements are counted */
	AML_CRS,     /* a buffer: its bytes are counted, an end tag is added */
};

struct aml {
	uint8_t *buf;
	size_t len, max;
	bool full;
	unsigned depth;
	struct aml_open {
		enum aml_kind kind;
		size_t at; /* of what the length goes in front of */
		unsigned elements;
	} open[AML_DEPTH];
};

void aml_init(struct aml *aml, void *buf, size_t max);
/* the number of bytes written, everything being closed: -ENOSPC if they did not all fit */
int aml_done(const struct aml *aml, size_t *ret_len) must_check;

/* bytes as they are, and @size low bytes of @v, little-endian */
void aml_raw(struct aml *aml, const void *bytes, size_t len);
void aml_le(struct aml *aml, uint64_t v, unsigned size);

/* names are of 1 to 4 characters A-Z 0-9 _, not a digit first */
void aml_scope(struct aml *aml, const char *name);
void aml_device(struct aml *aml, const char *name);
void aml_name(struct aml *aml, const char *name); /* of the value that is written next */
void aml_package(struct aml *aml);
void aml_method(struct aml *aml, const char *name); /* without arguments; what it does is next */
/* a step of a method: tell the driver of \SCOPE.DEVICE */
void aml_notify(struct aml *aml, const char *scope, const char *device, uint8_t what);
void aml_end(struct aml *aml); /* of the scope, device, method, package or resources last begun */

void aml_int(struct aml *aml, uint64_t v);
void aml_string(struct aml *aml, const char *s);
void aml_eisa(struct aml *aml, const char *id); /* "PNP0501" */

/* a ResourceTemplate, and the items for it; ranges name their first and last address */
void aml_crs(struct aml *aml);
void aml_io(struct aml *aml, uint16_t port, uint8_t len);
void aml_irq(struct aml *aml, unsigned isa_irq);   /* of an ISA device: edge, active high */
void aml_interrupt(struct aml *aml, uint32_t gsi); /* edge, active high, exclusive */
void aml_mem32(struct aml *aml, uint32_t base, uint32_t len);

/* what a host bridge passes on to its bus */
void aml_bus_window(struct aml *aml, uint16_t first, uint16_t last);
void aml_io_window(struct aml *aml, uint16_t first, uint16_t last);
void aml_mem32_window(struct aml *aml, uint32_t first, uint32_t last);
void aml_mem64_window(struct aml *aml, uint64_t first, uint64_t last);

#endif
