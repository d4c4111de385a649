/* known_leaks.h - leaks of foreign libraries that LeakSanitizer shall not report as ours. */
#ifndef AIRLOCK_TESTS_KNOWN_LEAKS_H
#define AIRLOCK_TESTS_KNOWN_LEAKS_H

const char *__lsan_default_suppressions(void);

/* libsndfile 1.2.0 forgets its Vorbis state when a file ends within the Vorbis headers.  (In
 * service the process that decodes does not live long enough for this to matter.) */
__attribute__((visibility("default"))) const char *__lsan_default_suppressions(void)
{
    return "leak:vorbis_info_init\n";
}

#endif
