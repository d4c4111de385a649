/* suite.h - runs a list of libcheck tests as a program. */
#ifndef AIRLOCK_TESTS_SUITE_H
#define AIRLOCK_TESTS_SUITE_H

#include <check.h>
#include <stddef.h>

/* tests ends with NULL.  The exit status of main(). */
static inline int suite_run(const char *name, const TTest *const *tests)
{
    Suite *s = suite_create(name);
    TCase *t = tcase_create(name);
    tcase_set_timeout(t, 300);
    for (; *tests; tests++)
        tcase_add_test(t, *tests);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}

#endif
