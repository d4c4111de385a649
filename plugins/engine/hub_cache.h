/*
 * hub_cache.h - Hugging Face ids: what is one, and which one a path in the local cache belongs to.
 */
#ifndef AIRLOCK_HUB_CACHE_H
#define AIRLOCK_HUB_CACHE_H

#include <stdbool.h>

enum { HUB_MAX_PART = 96 }; /* characters of an organisation, name or revision: the Hub's limit */

struct hub_id {
    char org[HUB_MAX_PART + 1], name[HUB_MAX_PART + 1];
    char revision[HUB_MAX_PART + 1]; /* "main" when it is not said */
};

/* "org/name" or "org/name@revision", each part of letters, digits, '-', '_' and single '.'; false:
 * text is no id.  Never accepts what could leave a directory. */
bool hub_id_parse(const char *text, struct hub_id *id);

/* The id that a directory ".../models--ORG--NAME/snapshots/..." of the cache belongs to. */
bool hub_id_of_path(const char *path, struct hub_id *id);

#endif
