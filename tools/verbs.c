/* verbs.c - what hutch can do: one verb a file, in the order that help tells them */
#include "tool.h"

const struct verb *const verbs[] = {
	&verb_run,     &verb_exec,     &verb_shell,  &verb_cp,	   &verb_image,	     &verb_ps,
	&verb_inspect, &verb_logs,     &verb_stats,  &verb_events, &verb_wait,	     &verb_stop,
	&verb_kill,    &verb_pause,    &verb_resume, &verb_set,	   &verb_snapshot,   &verb_restore,
	&verb_fork,    &verb_rollback, &verb_snap,   &verb_rm,	   &verb_check,	     &verb_init,
	&verb_boot,    &verb_doctor,   &verb_gc,     &verb_help,   &verb_completion, &verb_version,
	NULL,
};
