/* metrics.c - counts requests, times and bytes; see metrics.h. */
#include "metrics.h"

/* Upper bounds in microseconds, from a refusal to a cold model's long prompt. */
static const uint64_t bounds[TTFB_BUCKETS] = { 1000,    2500,    5000,     10000,   25000,
                                               50000,   100000,  250000,   500000,  1000000,
                                               2500000, 5000000, 15000000, 60000000 };

static const char *const abort_names[N_ABORTS] = { "caller", "container", "timeout", "limit" };

void metrics_answer(struct metrics *m, enum bridge_route route, unsigned status)
{
    m->answers[route][status < STATUS_MAX ? status : 0]++;
}

void metrics_refused(struct metrics *m, unsigned status)
{
    m->refused[status < STATUS_MAX ? status : 0]++;
}

void metrics_first_byte(struct metrics *m, enum bridge_route route, uint64_t ns)
{
    uint64_t us = ns / 1000;
    int i = 0;
    while (i < TTFB_BUCKETS && us > bounds[i])
        i++;
    m->ttfb[route][i]++;
    m->ttfb_us[route] += us;
}

const char *stream_abort_name(enum stream_abort why)
{
    return abort_names[why];
}

/* ---- writing --------------------------------------------------------------------------------- */

static const char *route_label(int route)
{
    return route < N_ROUTES ? routes[route].path : "other";
}

static void add_head(struct bytes *out, const char *name, const char *type, const char *help)
{
    bytes_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void add_answers(const struct metrics *m, struct bytes *out)
{
    add_head(out, "airlock_bridge_requests_total", "counter", "Requests answered.");
    for (int r = 0; r <= N_ROUTES; r++)
        for (int status = 0; status < STATUS_MAX; status++)
            if (m->answers[r][status])
                bytes_printf(out, "airlock_bridge_requests_total{route=\"%s\",code=\"%d\"} %lu\n",
                             route_label(r), status, (unsigned long)m->answers[r][status]);
    add_head(out, "airlock_bridge_edge_refusals_total", "counter",
             "Requests refused for their Host, Origin, token or content type.");
    for (int status = 0; status < STATUS_MAX; status++)
        if (m->refused[status])
            bytes_printf(out, "airlock_bridge_edge_refusals_total{code=\"%d\"} %lu\n", status,
                         (unsigned long)m->refused[status]);
}

static void add_ttfb(const struct metrics *m, struct bytes *out)
{
    add_head(out, "airlock_bridge_ttfb_seconds", "histogram",
             "From a request's last byte to the first byte of its answer's body.");
    for (int r = 0; r < N_ROUTES; r++) {
        unsigned long count = 0, per[TTFB_BUCKETS + 1];
        for (int i = 0; i <= TTFB_BUCKETS; i++)
            count += per[i] = m->ttfb[r][i];
        if (count == 0)
            continue;
        unsigned long sum = 0;
        for (int i = 0; i < TTFB_BUCKETS; i++) {
            sum += per[i];
            bytes_printf(
                out, "airlock_bridge_ttfb_seconds_bucket{route=\"%s\",le=\"%llu.%06llu\"} %lu\n",
                route_label(r), (unsigned long long)(bounds[i] / 1000000),
                (unsigned long long)(bounds[i] % 1000000), sum);
        }
        unsigned long us = m->ttfb_us[r];
        bytes_printf(out,
                     "airlock_bridge_ttfb_seconds_bucket{route=\"%s\",le=\"+Inf\"} %lu\n"
                     "airlock_bridge_ttfb_seconds_sum{route=\"%s\"} %lu.%06lu\n"
                     "airlock_bridge_ttfb_seconds_count{route=\"%s\"} %lu\n",
                     route_label(r), count, route_label(r), us / 1000000, us % 1000000,
                     route_label(r), count);
    }
}

void metrics_write(const struct metrics *m, struct bytes *out)
{
    add_answers(m, out);
    add_ttfb(m, out);
    add_head(out, "airlock_bridge_bytes_total", "counter",
             "Bytes of bodies: in from callers, out to them.");
    bytes_printf(out,
                 "airlock_bridge_bytes_total{direction=\"in\"} %lu\n"
                 "airlock_bridge_bytes_total{direction=\"out\"} %lu\n",
                 (unsigned long)m->bytes_in, (unsigned long)m->bytes_out);
    add_head(out, "airlock_bridge_stream_aborts_total", "counter",
             "Streams that began and did not end well, by who or what ended them.");
    for (int i = 0; i < N_ABORTS; i++)
        bytes_printf(out, "airlock_bridge_stream_aborts_total{reason=\"%s\"} %lu\n", abort_names[i],
                     (unsigned long)m->aborts[i]);
}
