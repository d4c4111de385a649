/* metrics.c - see metrics.h. */
#include "server/metrics.h"

static const unsigned statuses[METRICS_STATUSES] = { 200, 400, 404, 413, 422, 499,
                                                     500, 501, 503, 504, 0 /* any other */ };

static const double bounds[METRICS_BUCKETS] = { 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5,
                                                1,     2.5,  5,     10,   30,  60,   300 };

void metrics_request(struct metrics *m, unsigned status)
{
    size_t i = 0;
    while (statuses[i] && statuses[i] != status)
        i++;
    atomic_fetch_add_explicit(&m->requests[i], 1, memory_order_relaxed);
}

void metrics_answer(struct metrics *m, uint64_t tokens_in, uint64_t tokens_out,
                    uint64_t tokens_cached, uint64_t duration_ns)
{
    atomic_fetch_add_explicit(&m->tokens_in, tokens_in, memory_order_relaxed);
    atomic_fetch_add_explicit(&m->tokens_out, tokens_out, memory_order_relaxed);
    atomic_fetch_add_explicit(&m->tokens_cached, tokens_cached, memory_order_relaxed);
    atomic_fetch_add_explicit(&m->duration_ns, duration_ns, memory_order_relaxed);
    atomic_fetch_add_explicit(&m->durations, 1, memory_order_relaxed);
    for (size_t i = 0; i < METRICS_BUCKETS; i++)
        if ((double)duration_ns <= bounds[i] * 1e9)
            atomic_fetch_add_explicit(&m->seconds[i], 1, memory_order_relaxed);
}

/* model="NAME" with the name escaped as the exposition format says. */
static int write_label(const char *model, struct bytes *out)
{
    int rc = bytes_add_text(out, "{model=\"");
    for (const char *p = model; *p && rc == 0; p++) {
        if (*p == '\\' || *p == '"')
            rc = bytes_add_text(out, "\\");
        if (rc == 0)
            rc = bytes_add(out, p, 1);
    }
    return rc < 0 ? rc : bytes_add_text(out, "\"");
}

static int write_head(const char *name, const char *type, const char *help, struct bytes *out)
{
    return bytes_printf(out, "# HELP airlock_%s %s\n# TYPE airlock_%s %s\n", name, help, name,
                        type);
}

static int write_value(const char *name, const char *model, unsigned long long value,
                       struct bytes *out)
{
    if (bytes_printf(out, "airlock_%s", name) < 0 || write_label(model, out) < 0)
        return -1;
    return bytes_printf(out, "} %llu\n", value);
}

static int write_requests(const struct metrics_row *row, struct bytes *out)
{
    for (size_t i = 0; i < METRICS_STATUSES; i++) {
        unsigned long long n = atomic_load(&row->metrics->requests[i]);
        if (!n)
            continue;
        if (bytes_add_text(out, "airlock_requests_total") < 0 || write_label(row->model, out) < 0)
            return -1;
        int rc = statuses[i] ? bytes_printf(out, ",status=\"%u\"} %llu\n", statuses[i], n)
                             : bytes_printf(out, ",status=\"other\"} %llu\n", n);
        if (rc < 0)
            return -1;
    }
    return 0;
}

static int write_seconds(const struct metrics_row *row, struct bytes *out)
{
    static const char name[] = "airlock_request_seconds";
    unsigned long long count = atomic_load(&row->metrics->durations);
    for (size_t i = 0; i < METRICS_BUCKETS; i++)
        if (bytes_printf(out, "%s_bucket", name) < 0 || write_label(row->model, out) < 0 ||
            bytes_printf(out, ",le=\"%g\"} %llu\n", bounds[i],
                         atomic_load(&row->metrics->seconds[i])) < 0)
            return -1;
    if (bytes_printf(out, "%s_bucket", name) < 0 || write_label(row->model, out) < 0 ||
        bytes_printf(out, ",le=\"+Inf\"} %llu\n%s_sum", count, name) < 0 ||
        write_label(row->model, out) < 0 ||
        bytes_printf(out, "} %.9f\n%s_count", (double)atomic_load(&row->metrics->duration_ns) / 1e9,
                     name) < 0 ||
        write_label(row->model, out) < 0)
        return -1;
    return bytes_printf(out, "} %llu\n", count);
}

/* What write_tokens() and write_now() go through, row by row. */
static int write_counters(const struct metrics_row *rows, size_t n, struct bytes *out)
{
    static const struct {
        const char *name, *help;
        size_t offset;
    } counters[] = {
        { "prompt_tokens_total", "Tokens of prompts.", offsetof(struct metrics, tokens_in) },
        { "generated_tokens_total", "Tokens generated.", offsetof(struct metrics, tokens_out) },
        { "cached_tokens_total", "Tokens of prompts that were not computed again.",
          offsetof(struct metrics, tokens_cached) },
    };
    for (size_t c = 0; c < sizeof counters / sizeof *counters; c++) {
        if (write_head(counters[c].name, "counter", counters[c].help, out) < 0)
            return -1;
        for (size_t i = 0; i < n; i++) {
            atomic_ullong *value =
                (atomic_ullong *)(void *)((char *)rows[i].metrics + counters[c].offset);
            if (*rows[i].model &&
                write_value(counters[c].name, rows[i].model, atomic_load(value), out) < 0)
                return -1;
        }
    }
    return 0;
}

static int write_now(const struct metrics_row *rows, size_t n, struct bytes *out)
{
    static const struct {
        const char *name, *help;
        size_t offset;
    } gauges[] = {
        { "requests_running", "Requests being answered.", offsetof(struct metrics_row, running) },
        { "requests_waiting", "Requests waiting for their turn.",
          offsetof(struct metrics_row, waiting) },
        { "model_ready", "1 while the model can answer.", offsetof(struct metrics_row, ready) },
    };
    for (size_t g = 0; g < sizeof gauges / sizeof *gauges; g++) {
        if (write_head(gauges[g].name, "gauge", gauges[g].help, out) < 0)
            return -1;
        for (size_t i = 0; i < n; i++) {
            const unsigned *value =
                (const unsigned *)(const void *)((const char *)&rows[i] + gauges[g].offset);
            if (*rows[i].model && write_value(gauges[g].name, rows[i].model, *value, out) < 0)
                return -1;
        }
    }
    return 0;
}

int metrics_write(const struct metrics_row *rows, size_t n, struct bytes *out)
{
    int rc = write_head("requests_total", "counter",
                        "Requests for generation, by HTTP status (499: the client hung up).", out);
    for (size_t i = 0; i < n && rc == 0; i++)
        rc = write_requests(&rows[i], out);
    if (rc == 0)
        rc = write_counters(rows, n, out);
    if (rc == 0)
        rc = write_now(rows, n, out);
    if (rc == 0)
        rc = write_head("request_seconds", "histogram",
                        "Seconds from a request's turn to the end of its answer.", out);
    for (size_t i = 0; i < n && rc == 0; i++)
        if (*rows[i].model)
            rc = write_seconds(&rows[i], out);
    return rc;
}
