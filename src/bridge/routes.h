/*
 * routes.h - the server's paths that a bridge passes on, so that a path from outside never becomes
 * one inside.
 */
#ifndef AIRLOCK_BRIDGE_ROUTES_H
#define AIRLOCK_BRIDGE_ROUTES_H

#include <stdbool.h>

enum bridge_route {
    ROUTE_GENERATE,
    ROUTE_MODELS,
    ROUTE_CHAT,
    ROUTE_COMPLETIONS,
    ROUTE_TRANSCRIPTIONS,
    ROUTE_LOAD_ADAPTER,
    ROUTE_UNLOAD_ADAPTER,
    ROUTE_TOKENIZE,
    ROUTE_DETOKENIZE,
    N_ROUTES
};

struct route {
    const char *method, *path;
    bool admin; /* takes the header Airlock-Admin on */
    bool form;  /* takes multipart/form-data too, as OpenAI's clients send sounds */
};

extern const struct route routes[N_ROUTES];

/* N_ROUTES: the path is none of them. */
enum bridge_route route_find(const char *path);

#endif
