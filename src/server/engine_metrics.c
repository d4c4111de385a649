/* engine_metrics.c - see engine_metrics.h. */
#include "server/engine_metrics.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    SAMPLES_MAX = 4096,
    NAME_MAX_BYTES = 64, /* of a plugin's metric */
    BOUNDS_MAX = 64,
    SAMPLE_BYTES = 32 << 10
};

/* One metric of one model, written. */
struct sample {
    char name[NAME_MAX_BYTES + 32];
    const char *help; /* the plugin's, static */
    uint32_t kind;
    size_t order;
    struct bytes text;
};

/* All samples of one scrape. */
struct scrape {
    struct sample *samples;
    size_t n, capacity;
    const char *model;
    int rc;
};

static bool good_name(const char *name)
{
    size_t n = name ? strnlen(name, NAME_MAX_BYTES + 1) : 0;
    return n > 0 && n <= NAME_MAX_BYTES && strspn(name, "abcdefghijklmnopqrstuvwxyz_") == n;
}

static const char *type_of(uint32_t kind)
{
    return kind == LLM_METRIC_COUNTER ? "counter"
           : kind == LLM_METRIC_GAUGE ? "gauge"
                                      : "histogram";
}

static int write_line(const struct sample *s, const char *suffix, const char *model,
                      const char *more, double value, struct bytes *out)
{
    if (bytes_printf(out, "airlock_%s%s", s->name, suffix) < 0 ||
        metrics_write_label("model", model, out) < 0)
        return -1;
    return bytes_printf(out, "%s} %.17g\n", more, value);
}

static int write_sample(struct sample *s, const llm_metric *m, const char *model)
{
    char more[48];
    if (m->kind != LLM_METRIC_HISTOGRAM)
        return write_line(s, "", model, "", m->value, &s->text);
    for (uint64_t i = 0; i < m->n_bounds; i++) {
        snprintf(more, sizeof more, ",le=\"%g\"", m->bounds[i]);
        if (write_line(s, "_bucket", model, more, (double)m->buckets[i], &s->text) < 0)
            return -1;
    }
    if (write_line(s, "_bucket", model, ",le=\"+Inf\"", (double)m->count, &s->text) < 0 ||
        write_line(s, "_sum", model, "", m->value, &s->text) < 0)
        return -1;
    return write_line(s, "_count", model, "", (double)m->count, &s->text);
}

static bool usable(const llm_metric *m)
{
    if (!LLM_HAS(m, llm_metric, n_bounds) || !good_name(m->name))
        return false;
    if (m->kind == LLM_METRIC_HISTOGRAM)
        return m->n_bounds <= BOUNDS_MAX && (m->n_bounds == 0 || (m->bounds && m->buckets));
    return m->kind == LLM_METRIC_COUNTER || m->kind == LLM_METRIC_GAUGE;
}

static void report(void *ctx, const llm_metric *m)
{
    struct scrape *all = ctx;
    if (all->rc < 0 || all->n == SAMPLES_MAX || !usable(m))
        return;
    if (all->n == all->capacity) {
        size_t capacity = all->capacity ? all->capacity * 2 : 64;
        struct sample *bigger = realloc(all->samples, capacity * sizeof *bigger);
        if (!bigger) {
            all->rc = -1;
            return;
        }
        all->samples = bigger;
        all->capacity = capacity;
    }
    struct sample *s = &all->samples[all->n];
    *s = (struct sample){ .help = m->help ? m->help : "Told by the model.",
                          .kind = m->kind,
                          .order = all->n,
                          .text = BYTES_INIT(SAMPLE_BYTES) };
    size_t n = strlen(m->name);
    bool total = n > 6 && strcmp(m->name + n - 6, "_total") == 0;
    snprintf(s->name, sizeof s->name, "engine_%s%s", m->name,
             m->kind == LLM_METRIC_COUNTER && !total ? "_total" : "");
    all->n++;
    if (write_sample(s, m, all->model) < 0)
        all->rc = -1;
}

static int by_name(const void *a, const void *b)
{
    const struct sample *x = a, *y = b;
    int order = strcmp(x->name, y->name);
    return order ? order : (x->order > y->order) - (x->order < y->order);
}

static int write_all(const struct scrape *all, struct bytes *out)
{
    const struct sample *first = NULL; /* of the name being written */
    for (size_t i = 0; i < all->n; i++) {
        const struct sample *s = &all->samples[i];
        if (!first || strcmp(first->name, s->name) != 0) {
            char help[128]; /* one line, whatever the plugin has put there */
            snprintf(help, sizeof help, "%s", s->help);
            help[strcspn(help, "\r\n\\")] = 0;
            first = s;
            if (metrics_write_head(s->name, type_of(s->kind), help, out) < 0)
                return -1;
        }
        if (s->kind == first->kind && bytes_add(out, s->text.data, s->text.size) < 0)
            return -1;
    }
    return 0;
}

int engine_metrics_write(struct models *models, struct bytes *out)
{
    struct scrape all = { 0 };
    for (size_t i = 0; i < models->n; i++) {
        const struct model *m = &models->all[i];
        const llm_ext_metrics *ext =
            m->cls->extension && m->instance ? m->cls->extension(LLM_EXT_METRICS) : NULL;
        all.model = m->config->name;
        if (ext && LLM_HAS(ext, llm_ext_metrics, read) && ext->read)
            ext->read(m->instance, report, &all);
    }
    if (all.n)
        qsort(all.samples, all.n, sizeof *all.samples, by_name);
    if (all.rc == 0)
        all.rc = write_all(&all, out);
    for (size_t i = 0; i < all.n; i++)
        bytes_free(&all.samples[i].text);
    free(all.samples);
    return all.rc;
}
