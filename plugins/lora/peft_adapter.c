/* peft_adapter.c - from adapter_model.safetensors to checked A and B per layer; see
 * peft_adapter.h. */
#include "peft_adapter.h"

#include "engine/hub_cache.h"
#include "engine/safetensors.h"
#include "ops/cpu/convert.h"
#include "peft_config.h"

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_MODULE = 256 }; /* bytes of a module's name */

/* A name that an adapter may use: a layer, or a part of a fused one. */
struct slot {
    const char *module;
    const llm_site *site;
    uint32_t first_row, rows;
    bool part;
    const struct safetensors_view *a, *b; /* NULL: not in the file */
    enum ops_dtype a_dtype, b_dtype;
    struct peft_module say; /* of adapter_config.json */
};

struct reader {
    struct slot *slots;   /* of a site: itself, then its parts */
    struct slot **sorted; /* by module */
    size_t n;
    const struct peft_config *config;
    struct airlock_error *err;
};

static int fail(struct reader *rd, const struct safetensors_view *v, const char *why)
{
    return airlock_error_set(rd->err, AIRLOCK_E_CONFIG, "tensor %.160s: %s", v->name, why);
}

/* ---- the model's layers ---- */

static int compare_slots(const void *a, const void *b)
{
    const struct slot *const *x = a, *const *y = b;
    return strcmp((*x)->module, (*y)->module);
}

static int make_slots(struct reader *rd, const llm_site *const *sites, size_t n)
{
    size_t room = n;
    for (size_t i = 0; i < n; i++)
        room += sites[i]->n_parts;
    rd->slots = calloc(room + 1, sizeof *rd->slots);
    rd->sorted = calloc(room + 1, sizeof *rd->sorted);
    if (!rd->slots || !rd->sorted)
        return airlock_error_set(rd->err, AIRLOCK_E_NO_MEMORY, "out of memory for %zu layers", n);
    for (size_t i = 0; i < n; i++) {
        const llm_site *s = sites[i];
        rd->slots[rd->n++] = (struct slot){ .module = s->module, .site = s, .rows = s->out_dim };
        for (uint32_t k = 0; k < s->n_parts; k++) {
            const llm_site_part *p = s->parts[k];
            if (p->first_row > s->out_dim || p->rows > s->out_dim - p->first_row)
                return airlock_error_set(rd->err, AIRLOCK_E_INTERNAL,
                                         "the model says that %.100s goes beyond the rows of "
                                         "%.100s",
                                         p->module, s->module);
            rd->slots[rd->n++] = (struct slot){ .module = p->module,
                                                .site = s,
                                                .first_row = p->first_row,
                                                .rows = p->rows,
                                                .part = true };
        }
    }
    for (size_t i = 0; i < rd->n; i++)
        rd->sorted[i] = &rd->slots[i];
    qsort(rd->sorted, rd->n, sizeof *rd->sorted, compare_slots);
    return 0;
}

static struct slot *find_slot(const struct reader *rd, const char *module)
{
    struct slot key = { .module = module }, *p = &key;
    struct slot **hit = bsearch(&p, rd->sorted, rd->n, sizeof p, compare_slots);
    return hit ? *hit : NULL;
}

/* The slots of one site. */
static size_t group_size(const struct reader *rd, size_t first)
{
    size_t n = 1;
    while (first + n < rd->n && rd->slots[first + n].part)
        n++;
    return n;
}

/* ---- names of tensors ---- */

/* ".weight", or ".NAME.weight" with the adapter's name, which in-memory dumps keep. */
static bool is_weight(const char *rest)
{
    if (strcmp(rest, ".weight") == 0)
        return true;
    const char *dot = *rest == '.' ? strchr(rest + 1, '.') : NULL;
    return dot && dot > rest + 1 && strcmp(dot, ".weight") == 0;
}

/* [base_model.model.]MODULE.lora_A[.NAME].weight */
static int parse_name(struct reader *rd, const struct safetensors_view *v, char *module, bool *is_a)
{
    static const char prefix[] = "base_model.model.";
    const char *s = v->name;
    if (strncmp(s, prefix, sizeof prefix - 1) == 0)
        s += sizeof prefix - 1;
    const char *kind = strstr(s, ".lora_");
    if (!kind)
        return fail(rd, v,
                    "is no LoRA matrix; an adapter that replaces whole weights is not "
                    "supported");
    if ((size_t)(kind - s) >= MAX_MODULE)
        return fail(rd, v, "its name is too long");
    snprintf(module, MAX_MODULE, "%.*s", (int)(kind - s), s);
    kind++;
    if (strncmp(kind, "lora_magnitude_vector", 21) == 0)
        return fail(rd, v, "DoRA is not supported: merge the adapter into the model");
    if (strncmp(kind, "lora_embedding_", 15) == 0)
        return fail(rd, v, "adapters of embeddings are not supported");
    *is_a = strncmp(kind, "lora_A", 6) == 0;
    if (!*is_a && strncmp(kind, "lora_B", 6) != 0)
        return fail(rd, v, "neither lora_A nor lora_B");
    size_t n = strlen(kind);
    if (n > 5 && strcmp(kind + n - 5, ".bias") == 0)
        return fail(rd, v, "biases of adapters are not supported");
    return is_weight(kind + 6) ? 0 : fail(rd, v, "its name does not end in .weight");
}

static int read_dtype(struct reader *rd, const struct safetensors_view *v, enum ops_dtype *out)
{
    *out = strcmp(v->dtype, "BF16") == 0  ? OPS_BF16
           : strcmp(v->dtype, "F16") == 0 ? OPS_F16
           : strcmp(v->dtype, "F32") == 0 ? OPS_F32
                                          : 0;
    return *out ? 0 : fail(rd, v, "its dtype must be BF16, F16 or F32");
}

static int take_tensor(struct reader *rd, const struct safetensors_view *v)
{
    char module[MAX_MODULE];
    bool is_a = false;
    if (parse_name(rd, v, module, &is_a) < 0)
        return -1;
    struct slot *s = find_slot(rd, module);
    if (!s)
        return airlock_error_set(rd->err, AIRLOCK_E_CONFIG,
                                 "tensor %.160s: this model has no linear layer %.160s", v->name,
                                 module);
    if (is_a ? s->a != NULL : s->b != NULL)
        return fail(rd, v, "the same matrix is there under another name");
    if (is_a)
        s->a = v;
    else
        s->b = v;
    return read_dtype(rd, v, is_a ? &s->a_dtype : &s->b_dtype);
}

/* ---- checks ---- */

static int check_shape(struct reader *rd, const struct safetensors_view *v, uint64_t rows,
                       uint64_t cols, const struct slot *s)
{
    if (v->n_dims != 2)
        return fail(rd, v, "must have two dimensions");
    if (v->shape[0] == rows && v->shape[1] == cols)
        return 0;
    return airlock_error_set(rd->err, AIRLOCK_E_CONFIG,
                             "tensor %.160s: shape %llux%llu, expected %llux%llu (rank %zu by "
                             "adapter_config.json, layer %ux%u)",
                             v->name, (unsigned long long)v->shape[0],
                             (unsigned long long)v->shape[1], (unsigned long long)rows,
                             (unsigned long long)cols, s->say.rank, s->rows, s->site->in_dim);
}

static int check_slot(struct reader *rd, struct slot *s)
{
    if (peft_config_module(rd->config, s->module, &s->say, rd->err) < 0)
        return -1;
    if (!s->a && !s->b)
        return 0;
    if (!s->a || !s->b)
        return airlock_error_set(rd->err, AIRLOCK_E_CONFIG, "module %.160s has %s, but no %s",
                                 s->module, s->a ? "lora_A" : "lora_B", s->a ? "lora_B" : "lora_A");
    if (!s->say.targeted)
        return airlock_error_set(rd->err, AIRLOCK_E_CONFIG,
                                 "module %.160s has tensors, but adapter_config.json does not "
                                 "target it",
                                 s->module);
    return check_shape(rd, s->a, s->say.rank, s->site->in_dim, s) < 0 ||
                   check_shape(rd, s->b, s->rows, s->say.rank, s) < 0
               ? -1
               : 0;
}

static const char *last_part(const char *module)
{
    const char *dot = strrchr(module, '.');
    return dot ? dot + 1 : module;
}

/* Whether any layer has tensors under this last part of a name. */
static bool kind_present(const struct reader *rd, const char *kind)
{
    for (size_t i = 0; i < rd->n; i++)
        if (rd->slots[i].a && strcmp(last_part(rd->slots[i].module), kind) == 0)
            return true;
    return false;
}

/*
 * A layer that the configuration targets has tensors, by its own name or by its parts.  Parts count
 * only where the file has them for other layers: recipes for unfused models name q_proj, and on a
 * fused one PEFT trains what it finds and saves that.
 */
static int check_absent(struct reader *rd)
{
    const struct slot *missing = NULL;
    for (size_t i = 0; i < rd->n && !missing; i += group_size(rd, i)) {
        size_t n = group_size(rd, i);
        const struct slot *s = &rd->slots[i];
        bool any = false;
        for (size_t k = 0; k < n; k++)
            any = any || s[k].a;
        if (s->say.targeted && !any)
            missing = s;
        for (size_t k = 1; k < n && !missing; k++)
            if (s[k].say.targeted && !s->a && !s[k].a && kind_present(rd, last_part(s[k].module)))
                missing = &s[k];
    }
    if (!missing || !peft_config_has_targets(rd->config))
        return 0;
    return airlock_error_set(rd->err, AIRLOCK_E_CONFIG,
                             "module %.160s is targeted by adapter_config.json, but has no tensors",
                             missing->module);
}

/* ---- matrices ---- */

static float element(const struct safetensors_view *v, enum ops_dtype dtype, size_t i)
{
    const char *at = (const char *)v->data + i * ops_dtype_size(dtype); /* may be misaligned */
    uint32_t word = 0;
    memcpy(&word, at, ops_dtype_size(dtype));
    return dtype == OPS_F32    ? bits_to_float(word)
           : dtype == OPS_BF16 ? bf16_to_float((uint16_t)word)
                               : f16_to_float((uint16_t)word);
}

/* Writes n numbers from number `from` of v to number `to` of a matrix, times scale. */
static int copy(struct reader *rd, const struct peft_target *t, void *out, size_t to,
                const struct safetensors_view *v, enum ops_dtype dtype, size_t from, size_t n,
                float scale)
{
    for (size_t i = 0; i < n; i++) {
        float f = element(v, dtype, from + i);
        if (!isfinite(f))
            return fail(rd, v, "holds a NaN or an infinity");
        store_float(out, t->dtype, to + i, f * scale);
    }
    return 0;
}

static void *matrix(struct reader *rd, struct peft_adapter *out, const struct peft_target *t,
                    size_t rows, size_t cols)
{
    size_t bytes = (rows * cols * ops_dtype_size(t->dtype) + 63) / 64 * 64;
    void *p = aligned_alloc(64, bytes);
    if (!p) {
        airlock_error_set(rd->err, AIRLOCK_E_NO_MEMORY, "out of memory for the adapter");
        return NULL;
    }
    out->bytes += bytes;
    return memset(p, 0, bytes);
}

/* Dtype and scale of one product for all of a site's slots that are there: as stored where they
 * agree, else float32 with the scales multiplied into B. */
static void choose_form(struct peft_target *t, const struct slot *s, size_t n, bool *fold)
{
    const struct slot *first = NULL;
    bool same_dtype = true, same_scale = true;
    for (size_t k = 0; k < n; k++) {
        if (!s[k].a)
            continue;
        if (!first)
            first = &s[k];
        same_dtype = same_dtype && s[k].a_dtype == first->a_dtype && s[k].b_dtype == first->a_dtype;
        same_scale = same_scale && s[k].say.scale == first->say.scale;
        t->rank += (uint32_t)s[k].say.rank;
    }
    *fold = !same_scale;
    t->dtype = same_dtype && same_scale ? first->a_dtype : OPS_F32;
    t->scale = same_scale ? (float)first->say.scale : 1.0f;
}

static int fill(struct reader *rd, struct peft_target *t, const struct slot *s, size_t n, bool fold)
{
    size_t at = 0; /* rank of the slots before */
    for (size_t k = 0; k < n; k++) {
        size_t r = s[k].say.rank;
        float scale = fold ? (float)s[k].say.scale : 1.0f;
        if (!s[k].a)
            continue;
        if (copy(rd, t, t->a, at * t->in_dim, s[k].a, s[k].a_dtype, 0, r * t->in_dim, 1.0f) < 0)
            return -1;
        for (size_t row = 0; row < s[k].rows; row++)
            if (copy(rd, t, t->b, (s[k].first_row + row) * t->rank + at, s[k].b, s[k].b_dtype,
                     row * r, r, scale) < 0)
                return -1;
        at += r;
    }
    return 0;
}

static int build_target(struct reader *rd, struct peft_adapter *out, const struct slot *s, size_t n)
{
    bool fold, any_part = false;
    struct peft_target *t = &out->targets[out->n++];
    *t = (struct peft_target){ .in_dim = s->site->in_dim, .out_dim = s->site->out_dim };
    for (size_t k = 1; k < n; k++)
        any_part = any_part || s[k].a;
    if (s->a && any_part)
        return airlock_error_set(rd->err, AIRLOCK_E_CONFIG,
                                 "module %.160s has tensors as a whole and for its parts",
                                 s->module);
    choose_form(t, s, n, &fold);
    if (t->rank > OPS_LORA_MAX_RANK)
        return airlock_error_set(rd->err, AIRLOCK_E_CONFIG,
                                 "module %.160s: rank %u, at most %d is supported", s->module,
                                 t->rank, OPS_LORA_MAX_RANK);
    t->module = strdup(s->module);
    t->a = matrix(rd, out, t, t->rank, t->in_dim);
    t->b = t->a ? matrix(rd, out, t, t->out_dim, t->rank) : NULL;
    if (!t->module || !t->a || !t->b)
        return airlock_error_set(rd->err, AIRLOCK_E_NO_MEMORY, "out of memory for the adapter");
    return fill(rd, t, s, n, fold);
}

static int compare_targets(const void *a, const void *b)
{
    const struct peft_target *x = a, *y = b;
    return strcmp(x->module, y->module);
}

static int build(struct reader *rd, struct peft_adapter *out)
{
    out->targets = calloc(rd->n + 1, sizeof *out->targets);
    if (!out->targets)
        return airlock_error_set(rd->err, AIRLOCK_E_NO_MEMORY, "out of memory for the adapter");
    for (size_t i = 0; i < rd->n;) {
        size_t n = group_size(rd, i), k = 0;
        while (k < n && !rd->slots[i + k].a)
            k++;
        if (k < n && build_target(rd, out, &rd->slots[i], n) < 0)
            return -1;
        i += n;
    }
    if (out->n == 0)
        return airlock_error_set(rd->err, AIRLOCK_E_CONFIG,
                                 "the adapter changes no layer of this model");
    qsort(out->targets, out->n, sizeof *out->targets, compare_targets);
    return 0;
}

/* ---- the files ---- */

static bool is_directory(const char *path)
{
    struct stat s;
    return stat(path, &s) == 0 && S_ISDIR(s.st_mode);
}

/* A Hub id against a Hub id; a directory has no name that could be compared, so that there the
 * shapes decide. */
static int check_base(const char *trained_on, const char *model, struct airlock_error *err)
{
    struct hub_id want, have;
    if (!trained_on || !model || is_directory(trained_on) || !hub_id_parse(trained_on, &want))
        return 0;
    if (!hub_id_of_path(model, &have) && (is_directory(model) || !hub_id_parse(model, &have)))
        return 0;
    if (strcasecmp(want.org, have.org) == 0 && strcasecmp(want.name, have.name) == 0)
        return 0;
    return airlock_error_set(err, AIRLOCK_E_CONFIG,
                             "adapter_config.json: base_model_name_or_path is %.120s, but this "
                             "model is %s/%s",
                             trained_on, have.org, have.name);
}

static struct safetensors *open_tensors(const char *dir, struct airlock_error *err)
{
    char path[PATH_MAX], pickle[PATH_MAX];
    int n = snprintf(path, sizeof path, "%s/adapter_model.safetensors", dir);
    if (n < 0 || (size_t)n >= sizeof path) {
        airlock_error_set(err, AIRLOCK_E_CONFIG, "the adapter's path is too long");
        return NULL;
    }
    snprintf(pickle, sizeof pickle, "%s/adapter_model.bin", dir);
    if (access(path, F_OK) < 0 && access(pickle, F_OK) == 0) {
        airlock_error_set(err, AIRLOCK_E_CONFIG,
                          "%s: a pickle file can run code and is never read: save the adapter as "
                          "adapter_model.safetensors",
                          pickle);
        return NULL;
    }
    struct safetensors *st = safetensors_open_file(path, err);
    if (st && safetensors_prefault(st, NULL, NULL, err) < 0) {
        safetensors_close(st);
        st = NULL;
    }
    return st;
}

static int read_tensors(struct reader *rd, struct peft_adapter *out, const char *dir)
{
    struct safetensors *st = open_tensors(dir, rd->err);
    int rc = st ? 0 : -1;
    for (size_t i = 0; rc == 0 && i < safetensors_count(st); i++)
        rc = take_tensor(rd, safetensors_at(st, i));
    for (size_t i = 0; rc == 0 && i < rd->n; i++)
        rc = check_slot(rd, &rd->slots[i]);
    if (rc == 0)
        rc = check_absent(rd);
    if (rc == 0)
        rc = build(rd, out);
    safetensors_close(st);
    return rc;
}

int peft_adapter_read(struct peft_adapter *out, const char *dir, const llm_site *const *sites,
                      size_t n_sites, const char *base_model, struct airlock_error *err)
{
    struct reader rd = { .err = err };
    struct peft_config *config = peft_config_read(dir, err);
    *out = (struct peft_adapter){ 0 };
    rd.config = config;
    int rc = config ? check_base(peft_config_base_model(config), base_model, err) : -1;
    if (rc == 0)
        rc = make_slots(&rd, sites, n_sites);
    if (rc == 0)
        rc = read_tensors(&rd, out, dir);
    if (rc < 0)
        peft_adapter_free(out);
    free(rd.slots);
    free(rd.sorted);
    peft_config_free(config);
    return rc;
}

void peft_adapter_free(struct peft_adapter *adapter)
{
    for (size_t i = 0; i < adapter->n; i++) {
        free(adapter->targets[i].module);
        free(adapter->targets[i].a);
        free(adapter->targets[i].b);
    }
    free(adapter->targets);
    *adapter = (struct peft_adapter){ 0 };
}
