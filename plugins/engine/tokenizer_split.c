/* tokenizer_split.c - cuts text into pre-tokens by a pattern: the o200k rule by hand, others with
 * PCRE2. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "tokenizer_split.h"

#include "common/bytes.h"

#include <pcre2.h>
#include <stdlib.h>
#include <string.h>

const char tokenizer_gpt2_pattern[] =
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

enum {
    PATTERN_BYTES = 16 << 10,     /* the longest published one has 300 bytes */
    JIT_STACK_START = 32 << 10,   /* in bytes; our own, because a thread's stack may be tiny */
    JIT_STACK_MAX = 1 << 20,      /* beyond it the interpreter takes over, which uses the heap */
    MATCH_STEPS = 200 * 1000000u, /* a run of 64 MiB of one character stays below it */
    HEAP_KIB = 256 << 10          /* of the interpreter */
};

struct tokenizer_splitter {
    enum { CUT_NOTHING, CUT_O200K, CUT_PCRE2 } kind;
    enum split_gaps gaps;
    pcre2_code *code;
};

struct split_match {
    pcre2_match_data *data;
    pcre2_match_context *context;
    pcre2_jit_stack *stack;
};

/* White_Space as Oniguruma's \s has it; PCRE2's \s also has U+180E. */
static const char white_space[] =
    "\\x{9}-\\x{d}\\x{20}\\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}"
    "\\x{205f}\\x{3000}";
static const char no_white_space[] =
    "\\x{0}-\\x{8}\\x{e}-\\x{1f}\\x{21}-\\x{84}\\x{86}-\\x{9f}\\x{a1}-\\x{167f}\\x{1681}-\\x{1fff}"
    "\\x{200b}-\\x{2027}\\x{202a}-\\x{202e}\\x{2030}-\\x{205e}\\x{2060}-\\x{2fff}"
    "\\x{3001}-\\x{10ffff}";

/* ---- from Oniguruma's syntax to PCRE2's -------------------------------------------------------
 */

/* Reads a pattern; what both engines read alike is copied. */
struct translation {
    const char *p, *end;
    bool in_class;
    struct bytes out;
    struct airlock_error *err;
};

static int refuse(struct translation *t, const char *what, size_t size)
{
    return airlock_error_set(t->err, AIRLOCK_E_UNSUPPORTED, "the pattern's %.*s is not supported",
                             (int)size, what);
}

static int copy(struct translation *t, size_t n)
{
    if (bytes_add(&t->out, t->p, n) < 0)
        return airlock_error_set(t->err, AIRLOCK_E_TOO_LARGE, "the pattern is too long");
    t->p += n;
    return 0;
}

static int translate_escape(struct translation *t)
{
    if (t->end - t->p < 2)
        return airlock_error_set(t->err, AIRLOCK_E_CONFIG, "the pattern ends in a backslash");
    const char c = t->p[1];
    if (c == 's' || c == 'S') {
        const char *list = c == 's' ? white_space : no_white_space;
        t->p += 2;
        const int failed =
            t->in_class ? bytes_add_text(&t->out, list) : bytes_printf(&t->out, "[%s]", list);
        return failed ? airlock_error_set(t->err, AIRLOCK_E_TOO_LARGE, "the pattern is too long")
                      : 0;
    }
    /* \p{...} is the category, \x{...} the code point and \d is Nd in both. */
    if (strchr("pPx", c) && c) {
        const char *end = t->p + 2;
        while (end < t->end && *end != '}')
            end++;
        if (t->end - t->p < 4 || t->p[2] != '{' || end == t->end)
            return refuse(t, t->p, 2);
        return copy(t, (size_t)(end + 1 - t->p));
    }
    if (strchr("dDrntf", c) && c)
        return copy(t, 2);
    if ((unsigned char)c < 0x80 && c > ' ' && !strchr("<>", c) &&
        !((c | 0x20) >= 'a' && (c | 0x20) <= 'z') && !(c >= '0' && c <= '9'))
        return copy(t, 2);
    return refuse(t, t->p, 2);
}

static int translate_group(struct translation *t)
{
    static const char *const known[] = {
        "(?:", "(?i:", "(?!", "(?=", "(?<!", "(?<=", "(?>", "(?i)"
    };
    if (t->end - t->p < 2 || t->p[1] != '?')
        return t->p + 1 < t->end && t->p[1] == '*' ? refuse(t, "(*", 2) : copy(t, 1);
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        const size_t n = strlen(known[i]);
        if ((size_t)(t->end - t->p) >= n && !memcmp(t->p, known[i], n))
            return copy(t, n);
    }
    return refuse(t, t->p, t->end - t->p < 4 ? (size_t)(t->end - t->p) : 4);
}

static int translate_in_class(struct translation *t)
{
    if (*t->p == '[')
        return refuse(t, "class in a class", 16);
    if (*t->p == '&' && t->end - t->p > 1 && t->p[1] == '&')
        return refuse(t, "&& in a class", 13);
    if (*t->p == ']')
        t->in_class = false;
    return copy(t, 1);
}

static int translate_one(struct translation *t)
{
    if (*t->p == '\\')
        return translate_escape(t);
    if (t->in_class)
        return translate_in_class(t);
    switch (*t->p) {
    case '[': /* a ] right behind it is text in PCRE2 and depends on the version in Oniguruma */
        t->in_class = true;
        if ((t->end - t->p > 1 && t->p[1] == ']') ||
            (t->end - t->p > 2 && t->p[1] == '^' && t->p[2] == ']'))
            return refuse(t, "[]", 2);
        return copy(t, t->end - t->p > 1 && t->p[1] == '^' ? 2 : 1);
    case '(':
        return translate_group(t);
    case '^':
    case '$': /* of a line there, of the text here */
        return refuse(t, t->p, 1);
    case '}': /* {1,3}+ is possessive here and a repeated repeat there */
        if (t->end - t->p > 1 && t->p[1] == '+')
            return refuse(t, "}+", 2);
        return copy(t, 1);
    default:
        return copy(t, 1);
    }
}

static pcre2_code *compile(const char *pattern, size_t size, struct airlock_error *err)
{
    struct translation t = { pattern, pattern + size, false, BYTES_INIT(PATTERN_BYTES), err };
    pcre2_code *code = NULL;
    int failed = 0, error = 0;
    size_t at = 0;
    pcre2_compile_context *context = pcre2_compile_context_create(NULL);
    if (!context) {
        airlock_error_set(err, AIRLOCK_E_NO_MEMORY, "out of memory for the pattern");
        goto out;
    }
    pcre2_set_newline(context, PCRE2_NEWLINE_LF); /* what a dot does not match */
    pcre2_set_parens_nest_limit(context, 50);
    while (t.p < t.end && !failed)
        failed = translate_one(&t);
    if (failed)
        goto out;
    code = pcre2_compile((PCRE2_SPTR)(t.out.data ? t.out.data : ""), t.out.size,
                         PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C | PCRE2_NO_AUTO_CAPTURE,
                         &error, &at, context);
    if (!code) {
        unsigned char why[256] = "";
        pcre2_get_error_message(error, why, sizeof why);
        airlock_error_set(err, AIRLOCK_E_CONFIG, "the pattern is wrong: %s", (char *)why);
        goto out;
    }
    (void)pcre2_jit_compile(code, PCRE2_JIT_COMPLETE); /* without JIT it is only slower */
out:
    bytes_free(&t.out);
    pcre2_compile_context_free(context);
    return code;
}

/* ---- the splitter -----------------------------------------------------------------------------
 */

struct tokenizer_splitter *tokenizer_splitter_new(const char *pattern, size_t size,
                                                  enum split_gaps gaps, bool always_pcre2,
                                                  struct airlock_error *err)
{
    struct tokenizer_splitter *s = calloc(1, sizeof *s);
    if (!s) {
        airlock_error_set(err, AIRLOCK_E_NO_MEMORY, "out of memory for the pre-tokenizer");
        return NULL;
    }
    s->gaps = gaps;
    s->kind = CUT_NOTHING;
    if (!pattern)
        return s;
    if (!always_pcre2 && size == strlen(tokenizer_o200k_pattern) &&
        !memcmp(pattern, tokenizer_o200k_pattern, size)) {
        s->kind = CUT_O200K; /* it matches everywhere: there are no gaps */
        return s;
    }
    s->kind = CUT_PCRE2;
    s->code = compile(pattern, size, err);
    if (!s->code) {
        free(s);
        return NULL;
    }
    return s;
}

void tokenizer_splitter_free(struct tokenizer_splitter *s)
{
    if (!s)
        return;
    pcre2_code_free(s->code);
    free(s);
}

void split_run_end(struct split_run *run)
{
    if (!run->match)
        return;
    pcre2_match_data_free(run->match->data);
    pcre2_match_context_free(run->match->context);
    pcre2_jit_stack_free(run->match->stack);
    free(run->match);
    run->match = NULL;
}

int split_run_begin(struct split_run *run, const struct tokenizer_splitter *s, const char *text,
                    size_t size, struct airlock_error *err)
{
    *run = (struct split_run){ .splitter = s, .text = text, .size = size };
    if (s->kind != CUT_PCRE2)
        return 0;
    struct split_match *m = run->match = calloc(1, sizeof *m);
    if (m) {
        m->data = pcre2_match_data_create(1, NULL);
        m->context = pcre2_match_context_create(NULL);
        m->stack = pcre2_jit_stack_create(JIT_STACK_START, JIT_STACK_MAX, NULL); /* NULL: no JIT */
    }
    if (!m || !m->data || !m->context) {
        split_run_end(run);
        return airlock_error_set(err, AIRLOCK_E_NO_MEMORY, "out of memory for splitting text");
    }
    pcre2_set_match_limit(m->context, MATCH_STEPS);
    pcre2_set_heap_limit(m->context, HEAP_KIB);
    if (m->stack)
        pcre2_jit_stack_assign(m->context, NULL, m->stack);
    return 0;
}

/* The next match that is not empty: 1 with run->match_start and _end, 0: none, -1 with err. */
static int find_match(struct split_run *run, struct airlock_error *err)
{
    struct split_match *m = run->match;
    const PCRE2_SPTR text = (PCRE2_SPTR)run->text;
    const uint32_t options = PCRE2_NO_UTF_CHECK | PCRE2_NOTEMPTY;
    int rc = pcre2_match(run->splitter->code, text, run->size, run->at,
                         options | (m->stack ? 0 : PCRE2_NO_JIT), m->data, m->context);
    if (rc == PCRE2_ERROR_JIT_STACKLIMIT)
        rc = pcre2_match(run->splitter->code, text, run->size, run->at, options | PCRE2_NO_JIT,
                         m->data, m->context);
    if (rc == PCRE2_ERROR_NOMATCH)
        return 0;
    if (rc < 0)
        return airlock_error_set(err, AIRLOCK_E_REQUEST,
                                 "the tokenizer's pattern needs too many steps on this text");
    const size_t *offsets = pcre2_get_ovector_pointer(m->data);
    run->match_start = offsets[0];
    run->match_end = offsets[1];
    return 1;
}

static int give(struct split_run *run, size_t end, const char **piece, size_t *piece_size)
{
    *piece = run->text + run->at;
    *piece_size = end - run->at;
    run->at = end;
    return 1;
}

static int next_by_pattern(struct split_run *run, const char **piece, size_t *piece_size,
                           struct airlock_error *err)
{
    if (run->match_end <= run->at) { /* no match is waiting behind a gap */
        const int found = find_match(run, err);
        if (found < 0)
            return -1;
        if (!found)
            run->match_start = run->match_end = run->size;
        if (run->match_start > run->at) {
            if (run->splitter->gaps == SPLIT_GAPS_KEPT)
                return give(run, run->match_start, piece, piece_size);
            run->at = run->match_start;
        }
        if (run->at == run->size)
            return 0;
    }
    return give(run, run->match_end, piece, piece_size);
}

int split_run_next(struct split_run *run, const char **piece, size_t *piece_size,
                   struct airlock_error *err)
{
    if (run->at == run->size)
        return 0;
    if (run->splitter->kind == CUT_O200K)
        return give(run, run->at + o200k_next(run->text + run->at, run->size - run->at), piece,
                    piece_size);
    if (run->splitter->kind == CUT_NOTHING)
        return give(run, run->size, piece, piece_size);
    return next_by_pattern(run, piece, piece_size, err);
}
