/* verbs.c - what hutch can do: one verb a file, in the order that help tells them */
#include "tool.h"

const struct verb *const verbs[] = {
	&verb_boot, &verb_set, &verb_inspect, &verb_doctor, &verb_help, &verb_version, NULL,
};
