/* page.c - serves the page with the headers that keep it to itself; see page.h. */
#include "page.h"

void page_serve(const struct http_request *request, struct http_reply *reply, void *arg)
{
    (void)request, (void)arg;
    http_reply_set(reply, 200, "text/html; charset=utf-8", page_html, page_html_size);
    http_reply_header(reply, "Content-Security-Policy", page_policy);
    http_reply_header(reply, "X-Frame-Options", "DENY");
    http_reply_header(reply, "Referrer-Policy", "same-origin"); /* "no-referrer" can hide Origin */
    /* a service worker that another program's page left under this address would be of our origin
     */
    http_reply_header(reply, "Clear-Site-Data", "\"storage\"");
    http_reply_header(reply, "Cross-Origin-Opener-Policy", "same-origin");
    http_reply_header(reply, "Cross-Origin-Resource-Policy", "same-origin");
}
