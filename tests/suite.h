/* suite.h - how every unit test program ends */
#ifndef HUTCH_TEST_SUITE_H
#define HUTCH_TEST_SUITE_H

#include <check.h>

/* run @s and free it: main()'s exit status */
static inline int suite_run(Suite *s)
{
	SRunner *run = srunner_create(s);
	int failed;

	srunner_run_all(run, CK_NORMAL);
	failed = srunner_ntests_failed(run);
	srunner_free(run);
	return failed != 0;
}

#endif
