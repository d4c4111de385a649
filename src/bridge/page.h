/*
 * page.h - the web page at `/`: one file without anything from elsewhere, which asks this bridge
 * and no other.
 *
 * It holds nothing secret and is served without a token; what it does with the bridge goes through
 * the edge like any request.
 */
#ifndef AIRLOCK_BRIDGE_PAGE_H
#define AIRLOCK_BRIDGE_PAGE_H

#include "common/http_server.h"

#include <stdbool.h>
#include <stddef.h>

/* Made of page/ at build time by page/embed.sh. */
extern const char page_html[]; /* page_html_size bytes and a NUL */
extern const size_t page_html_size;
extern const char page_policy[]; /* its Content-Security-Policy */

/* GET /.  arg is not used. */
void page_serve(const struct http_request *request, struct http_reply *reply, void *arg);

#endif
