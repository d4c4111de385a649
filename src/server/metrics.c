/* metrics.c - see metrics.h. */
#include "server/metrics.h"

static const unsigned statuses[METRICS_STATUSES] = { 200, 400, 401, 403, 404, 409, 422,
                                                     499, 500, 501, 503, 504, 0 /* any other */ };

static const double bounds[METRICS_BUCKETS] = { 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075,
                                                0.1,   0.15,   0.25,  0.5,  1,     2.5,  5,
                                                10,    30,     60,    120,  300,   600 };

void metrics_request(struct metrics *m, unsigned status)
{
    size_t i = 0;
    while (statuses[i] && statuses[i] != status)
        i++;
    atomic_fetch_add_explicit(&m->requests[i], 1, memory_order_relaxed);
}

static void add(atomic_ullong *counter, uint64_t n)
{
    atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

void metrics_observe(struct histogram *h, uint64_t duration_ns)
{
    add(&h->sum_ns, duration_ns);
    add(&h->count, 1);
    for (size_t i = 0; i < METRICS_BUCKETS; i++)
        if ((double)duration_ns <= bounds[i] * 1e9)
            add(&h->buckets[i], 1);
}

void metrics_answer(struct metrics *m, const llm_stats *stats, uint64_t duration_ns)
{
    add(&m->tokens_in, stats->tokens_in);
    add(&m->tokens_out, stats->tokens_out);
    add(&m->tokens_cached, stats->tokens_cached);
    add(&m->prefill_ns, stats->prefill_ns);
    add(&m->decode_ns, stats->decode_ns);
    metrics_observe(&m->seconds, duration_ns);
}

int metrics_write_value(const char *key, const char *value, struct bytes *out)
{
    int rc = bytes_printf(out, "%s=\"", key);
    for (const char *p = value; *p && rc == 0; p++) {
        if (*p == '\\' || *p == '"')
            rc = bytes_add_text(out, "\\");
        if (rc == 0)
            rc = *p == '\n' ? bytes_add_text(out, "\\n") : bytes_add(out, p, 1);
    }
    return rc < 0 ? rc : bytes_add_text(out, "\"");
}

int metrics_write_label(const char *key, const char *value, struct bytes *out)
{
    return bytes_add_text(out, "{") < 0 ? -1 : metrics_write_value(key, value, out);
}

static int write_label(const char *model, struct bytes *out)
{
    return metrics_write_label("model", model, out);
}

int metrics_write_head(const char *name, const char *type, const char *help, struct bytes *out)
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

static int write_histogram(const char *name, const char *model, const struct histogram *h,
                           struct bytes *out)
{
    unsigned long long count = atomic_load(&h->count);
    for (size_t i = 0; i < METRICS_BUCKETS; i++)
        if (bytes_printf(out, "airlock_%s_bucket", name) < 0 || write_label(model, out) < 0 ||
            bytes_printf(out, ",le=\"%g\"} %llu\n", bounds[i], atomic_load(&h->buckets[i])) < 0)
            return -1;
    if (bytes_printf(out, "airlock_%s_bucket", name) < 0 || write_label(model, out) < 0 ||
        bytes_printf(out, ",le=\"+Inf\"} %llu\nairlock_%s_sum", count, name) < 0 ||
        write_label(model, out) < 0 ||
        bytes_printf(out, "} %.9f\nairlock_%s_count", (double)atomic_load(&h->sum_ns) / 1e9, name) <
            0 ||
        write_label(model, out) < 0)
        return -1;
    return bytes_printf(out, "} %llu\n", count);
}

static int write_histograms(const struct metrics_row *rows, size_t n, struct bytes *out)
{
    static const struct {
        const char *name, *help;
        size_t offset;
    } all[] = {
        { "request_seconds", "Seconds from a request's turn to the end of its answer.",
          offsetof(struct metrics, seconds) },
        { "queue_seconds", "Seconds that a request waited for its turn.",
          offsetof(struct metrics, queue) },
        { "time_to_first_token_seconds",
          "Seconds from a request's arrival to the first text of an answer.",
          offsetof(struct metrics, first_token) },
        { "inter_token_seconds", "Seconds between two pieces of text of one answer.",
          offsetof(struct metrics, inter_token) },
    };
    for (size_t h = 0; h < sizeof all / sizeof *all; h++) {
        if (metrics_write_head(all[h].name, "histogram", all[h].help, out) < 0)
            return -1;
        for (size_t i = 0; i < n; i++)
            if (*rows[i].model &&
                write_histogram(
                    all[h].name, rows[i].model,
                    (const struct histogram *)(const void *)((const char *)rows[i].metrics +
                                                             all[h].offset),
                    out) < 0)
                return -1;
    }
    return 0;
}

static int write_durations(const struct metrics_row *rows, size_t n, struct bytes *out)
{
    static const struct {
        const char *name, *help;
        size_t offset;
    } all[] = {
        { "prefill_seconds_total", "Seconds that models spent on prompts, as they say.",
          offsetof(struct metrics, prefill_ns) },
        { "decode_seconds_total", "Seconds that models spent on answers, as they say.",
          offsetof(struct metrics, decode_ns) },
    };
    for (size_t c = 0; c < sizeof all / sizeof *all; c++) {
        if (metrics_write_head(all[c].name, "counter", all[c].help, out) < 0)
            return -1;
        for (size_t i = 0; i < n; i++) {
            atomic_ullong *ns = (atomic_ullong *)(void *)((char *)rows[i].metrics + all[c].offset);
            if (*rows[i].model &&
                (bytes_printf(out, "airlock_%s", all[c].name) < 0 ||
                 write_label(rows[i].model, out) < 0 ||
                 bytes_printf(out, "} %.9f\n", (double)atomic_load(ns) / 1e9) < 0))
                return -1;
        }
    }
    return 0;
}

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
        if (metrics_write_head(counters[c].name, "counter", counters[c].help, out) < 0)
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
        { "adapters_loaded", "Adapters that requests can ask for.",
          offsetof(struct metrics_row, adapters) },
        { "model_ready", "1 while the model can answer.", offsetof(struct metrics_row, ready) },
    };
    for (size_t g = 0; g < sizeof gauges / sizeof *gauges; g++) {
        if (metrics_write_head(gauges[g].name, "gauge", gauges[g].help, out) < 0)
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
    int rc = metrics_write_head(
        "requests_total", "counter",
        "Requests, by HTTP status (499: the client hung up; of a stream: how it ended).", out);
    for (size_t i = 0; i < n && rc == 0; i++)
        rc = write_requests(&rows[i], out);
    if (rc < 0 || write_counters(rows, n, out) < 0 || write_durations(rows, n, out) < 0 ||
        write_now(rows, n, out) < 0)
        return -1;
    return write_histograms(rows, n, out);
}
