/*
 * languages.h - the English names of the languages that speech is commonly transcribed from.
 */
#ifndef AIRLOCK_LANGUAGES_H
#define AIRLOCK_LANGUAGES_H

#include <stddef.h>

/* Of an ISO 639-1 code ("de") of n bytes, in either case: "German".  NULL: none that is known
 * here. */
const char *language_name(const char *code, size_t n);

#endif
