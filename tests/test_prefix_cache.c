/* test_prefix_cache.c - computed blocks are found by exactly the same prefix and root, leaves are
 * given up before their parents, and dropped adapters are forgotten. */
#include "engine/prefix_cache.h"

#include "suite.h"

#include <stdlib.h>
#include <string.h>

enum { BLOCKS = 12, B = OPS_KV_BLOCK, TOKENS = BLOCKS * B };

static const struct ops_heads heads = { 4, 2, 8, 6 };
static const struct prefix_root plain;

/* A sequence as the scheduler has it. */
struct seq {
    int32_t ids[TOKENS];
    struct prefix_root root;
    struct prefix_place place;
    struct kv_table table;
    struct prefix_media media[2];
    size_t n_media;
};

struct fixture {
    struct ops_device *dev;
    struct kv_cache kv;
    struct prefix_cache *cache;
};

static void open_cache(struct fixture *f, size_t n_blocks)
{
    const char *why;
    struct airlock_error err = { 0 };
    f->dev = ops_cpu()->open(&(struct ops_open){ .threads = 1 }, &why);
    ck_assert_ptr_nonnull(f->dev);
    ck_assert_int_eq(kv_cache_init(&f->kv, ops_cpu(), f->dev, 1, &heads, OPS_BF16, n_blocks, &err),
                     0);
    f->cache = prefix_cache_new(&f->kv);
    ck_assert_ptr_nonnull(f->cache);
}

static void close_cache(struct fixture *f)
{
    struct prefix_counts counts;
    ck_assert_uint_eq(kv_cache_available(&f->kv), f->kv.n_blocks); /* nobody holds any */
    prefix_cache_counts(f->cache, &counts);
    ck_assert_uint_eq(counts.blocks, f->kv.n_kept);
    prefix_cache_free(f->cache);
    ck_assert_uint_eq(f->kv.n_free, f->kv.n_blocks);
    kv_cache_free(&f->kv);
    ops_cpu()->close(f->dev);
}

/* Tokens that differ from number on in every block; equal numbers give equal tokens. */
static void seq_init(struct seq *s, int32_t number, const struct prefix_root *root)
{
    memset(s, 0, sizeof *s);
    s->root = *root;
    for (int32_t i = 0; i < TOKENS; i++)
        s->ids[i] = number * 1000 + i;
}

static struct prefix_tokens tokens_of(const struct seq *s)
{
    return (struct prefix_tokens){ s->ids, s->media, s->n_media };
}

static size_t find(struct fixture *f, struct seq *s, size_t blocks)
{
    const struct prefix_tokens t = tokens_of(s);
    return prefix_cache_find(f->cache, &s->root, &t, blocks, &s->place, &s->table);
}

static void add(struct fixture *f, struct seq *s, size_t blocks)
{
    const struct prefix_tokens t = tokens_of(s);
    prefix_cache_add(f->cache, &s->root, &t, blocks, &s->place, &s->table);
}

/* Computes the sequence's first blocks blocks, as far as it has not. */
static void compute(struct fixture *f, struct seq *s, size_t blocks)
{
    ck_assert_int_eq(kv_table_grow(&f->kv, &s->table, blocks * B), KV_OK);
    add(f, s, blocks);
    ck_assert_uint_eq(s->place.n, blocks);
}

static void release(struct fixture *f, struct seq *s)
{
    kv_table_release(&f->kv, &s->table);
    s->place = (struct prefix_place){ 0 };
}

/* How many blocks a newcomer with these ids and root finds. */
static size_t known(struct fixture *f, const struct seq *like, size_t blocks)
{
    struct seq s = *like;
    s.place = (struct prefix_place){ 0 };
    s.table = (struct kv_table){ 0 };
    size_t n = find(f, &s, blocks);
    release(f, &s);
    return n;
}

START_TEST(a_block_is_found_again_by_the_same_tokens_only_as_far_as_they_are_the_same)
{
    struct fixture f;
    struct seq a, b;
    open_cache(&f, BLOCKS);
    seq_init(&a, 1, &plain);
    seq_init(&b, 1, &plain);
    ck_assert_uint_eq(find(&f, &a, 3), 0);
    compute(&f, &a, 3);
    b.ids[2 * B + B - 1]++; /* the last token of the third block */
    ck_assert_uint_eq(find(&f, &b, 3), 2);
    ck_assert_uint_eq(b.table.n, 2);
    for (size_t i = 0; i < 2; i++)
        ck_assert_int_eq(b.table.blocks[i], a.table.blocks[i]);
    release(&f, &b);
    b.ids[0]++; /* equal blocks behind another beginning are others */
    ck_assert_uint_eq(known(&f, &b, 3), 0);
    ck_assert_uint_eq(known(&f, &a, 2), 2); /* no more than asked for */
    release(&f, &a);
    ck_assert_uint_eq(f.kv.n_kept, 3);
    ck_assert_uint_eq(known(&f, &a, 3), 3); /* after its end, too */
    close_cache(&f);
}
END_TEST

START_TEST(the_same_sixteen_tokens_at_another_place_are_another_block)
{
    struct fixture f;
    struct seq a;
    open_cache(&f, BLOCKS);
    seq_init(&a, 1, &plain);
    memset(a.ids, 0, sizeof a.ids); /* all blocks have equal tokens */
    compute(&f, &a, 4);
    for (size_t i = 1; i < 4; i++)
        ck_assert_int_ne(a.table.blocks[i], a.table.blocks[i - 1]);
    ck_assert_uint_eq(known(&f, &a, 6), 4);
    release(&f, &a);
    close_cache(&f);
}
END_TEST

/* Sixty nodes in 64 buckets: some share one whatever the key is.  All have equal tokens, so only
 * their parents differ; and then all have one parent, so only their tokens do. */
START_TEST(nodes_in_one_bucket_are_not_mistaken_for_each_other)
{
    enum { MANY = 60, DEPTH = 5 };
    static struct seq s[MANY];
    struct fixture f;
    char salt[MANY / DEPTH];
    open_cache(&f, MANY);
    for (size_t i = 0; i < MANY / DEPTH; i++) {
        salt[i] = (char)i;
        seq_init(&s[i], 0, &(struct prefix_root){ .salt = &salt[i], .n_salt = 1 });
        memset(s[i].ids, 0, sizeof s[i].ids);
        ck_assert_uint_eq(find(&f, &s[i], DEPTH), 0);
        compute(&f, &s[i], DEPTH);
        for (size_t k = 0; k < i; k++)
            for (size_t b = 0; b < DEPTH; b++)
                ck_assert_int_ne(s[i].table.blocks[b], s[k].table.blocks[b]);
    }
    for (size_t i = 0; i < MANY / DEPTH; i++) {
        ck_assert_uint_eq(known(&f, &s[i], DEPTH + 1), DEPTH);
        release(&f, &s[i]);
    }
    for (size_t i = 0; i < MANY; i++) {
        seq_init(&s[i], (int32_t)i, &plain);
        ck_assert_uint_eq(find(&f, &s[i], 1), 0);
        compute(&f, &s[i], 1);
    }
    for (size_t i = 0; i < MANY; i++)
        release(&f, &s[i]);
    close_cache(&f);
}
END_TEST

/* A picture from token 20 on, in the second block, and maybe another one. */
static void seq_with_media(struct seq *s, char first, size_t position, char second)
{
    seq_init(s, 1, &plain);
    s->media[s->n_media++] = (struct prefix_media){ .position = 20, .digest = { [7] = first } };
    if (second)
        s->media[s->n_media++] =
            (struct prefix_media){ .position = position, .digest = { [31] = second } };
}

START_TEST(media_tell_apart_their_block_and_all_behind_it)
{
    struct fixture f;
    struct seq a, text, other, same, two, early, later;
    open_cache(&f, BLOCKS);
    seq_with_media(&a, 'a', 0, 0);
    compute(&f, &a, 4);
    seq_init(&text, 1, &plain);
    seq_with_media(&same, 'a', 0, 0);
    seq_with_media(&other, 'b', 0, 0);
    seq_with_media(&two, 'a', 48, 'c');
    seq_with_media(&early, 'a', 47, 'c');
    seq_with_media(&later, 'a', 64, 'c');
    ck_assert_uint_eq(known(&f, &same, 4), 4);
    ck_assert_uint_eq(known(&f, &text, 4), 1); /* what stands before a picture is no other's */
    ck_assert_uint_eq(known(&f, &other, 4), 1);
    ck_assert_uint_eq(known(&f, &two, 4), 3); /* a second picture begins with the fourth block */
    ck_assert_uint_eq(known(&f, &early, 4), 2);
    ck_assert_uint_eq(known(&f, &later, 4), 4);
    const struct prefix_tokens x = tokens_of(&a), y = tokens_of(&two);
    ck_assert(prefix_block_equal(&x, &y, 2) && !prefix_block_equal(&x, &y, 3));
    release(&f, &a);
    close_cache(&f);
}
END_TEST

START_TEST(every_part_of_the_root_tells_prefixes_apart)
{
    int one, two;
    const void *ab[] = { &one, &two }, *ba[] = { &two, &one };
    const uint64_t v[] = { 1, 2 }, w[] = { 1, 3 };
    const struct prefix_root roots[] = {
        { 0 },
        { .long_rope = true },
        { .salt = "s", .n_salt = 1 },
        { .salt = "t", .n_salt = 1 },
        { .salt = "s\0", .n_salt = 2 },
        { .adapters = ab, .versions = v, .n_adapters = 1 },
        { .adapters = ab, .versions = v, .n_adapters = 2 },
        { .adapters = ab, .versions = w, .n_adapters = 2 },
        { .adapters = ba, .versions = v, .n_adapters = 2 },
    };
    enum { ROOTS = sizeof roots / sizeof roots[0] };
    struct fixture f;
    struct seq s[ROOTS];
    struct prefix_counts counts;
    open_cache(&f, BLOCKS);
    for (size_t i = 0; i < ROOTS; i++) {
        seq_init(&s[i], 1, &roots[i]);
        ck_assert_uint_eq(find(&f, &s[i], 1), 0);
        compute(&f, &s[i], 1);
        for (size_t k = 0; k <= i; k++)
            ck_assert_uint_eq(known(&f, &s[k], 1), 1);
        for (size_t k = 0; k < ROOTS; k++)
            ck_assert_int_eq(prefix_root_equal(&roots[i], &roots[k]), i == k);
    }
    prefix_cache_counts(f.cache, &counts);
    ck_assert_uint_eq(counts.roots, ROOTS);
    for (size_t i = 0; i < ROOTS; i++)
        release(&f, &s[i]);
    close_cache(&f);
}
END_TEST

START_TEST(who_computed_the_same_meanwhile_gets_the_first_ones_block)
{
    struct fixture f;
    struct seq a, b;
    open_cache(&f, BLOCKS);
    seq_init(&a, 1, &plain);
    seq_init(&b, 1, &plain);
    ck_assert_int_eq(kv_table_grow(&f.kv, &b.table, 2 * B), KV_OK); /* at the same time */
    compute(&f, &a, 2);
    size_t free_before = f.kv.n_free;
    compute(&f, &b, 2);
    ck_assert_int_eq(b.table.blocks[0], a.table.blocks[0]);
    ck_assert_int_eq(b.table.blocks[1], a.table.blocks[1]);
    ck_assert_uint_eq(f.kv.n_free, free_before + 2);
    compute(&f, &b, 3); /* and goes on behind them */
    release(&f, &a);
    ck_assert_uint_eq(f.kv.n_kept, 0); /* b holds them all */
    ck_assert_uint_eq(known(&f, &a, 3), 3);
    release(&f, &b);
    close_cache(&f);
}
END_TEST

START_TEST(blocks_found_later_replace_those_not_computed_yet)
{
    struct fixture f;
    struct seq a, b;
    open_cache(&f, BLOCKS);
    seq_init(&a, 1, &plain);
    seq_init(&b, 1, &plain);
    compute(&f, &a, 1);
    ck_assert_uint_eq(find(&f, &b, 3), 1);
    ck_assert_int_eq(kv_table_grow(&f.kv, &b.table, 4 * B), KV_OK);
    int32_t last = b.table.blocks[3];
    compute(&f, &a, 3);
    ck_assert_uint_eq(find(&f, &b, 3), 2);
    ck_assert_uint_eq(b.place.n, 3);
    ck_assert_uint_eq(b.table.n, 4);
    for (size_t i = 0; i < 3; i++)
        ck_assert_int_eq(b.table.blocks[i], a.table.blocks[i]);
    ck_assert_int_eq(b.table.blocks[3], last);
    release(&f, &a);
    release(&f, &b);
    close_cache(&f);
}
END_TEST

START_TEST(only_when_free_blocks_have_run_out_the_longest_unused_leaf_is_given_up)
{
    struct fixture f;
    struct seq old, young, big;
    struct prefix_counts counts;
    open_cache(&f, 8);
    seq_init(&old, 1, &plain);
    seq_init(&young, 2, &plain);
    seq_init(&big, 3, &plain);
    compute(&f, &old, 3);
    compute(&f, &young, 3);
    release(&f, &old);
    release(&f, &young);
    compute(&f, &big, 2); /* the two that are free */
    ck_assert_uint_eq(known(&f, &old, 3), 3);
    ck_assert_uint_eq(known(&f, &young, 3), 3); /* now old was let go before young */
    compute(&f, &big, 4);
    ck_assert_uint_eq(known(&f, &old, 3), 1); /* its first block is left: now the youngest */
    ck_assert_uint_eq(known(&f, &young, 3), 3);
    ck_assert_uint_eq(known(&f, &old, 3), 1);
    compute(&f, &big, 7);
    ck_assert_uint_eq(known(&f, &young, 3), 0);
    ck_assert_uint_eq(known(&f, &old, 3), 1);
    prefix_cache_counts(f.cache, &counts);
    ck_assert_uint_eq(counts.evictions, 5);
    struct kv_table none = { 0 };
    ck_assert_int_eq(kv_table_grow(&f.kv, &none, 2 * B), KV_FULL); /* held ones are never taken */
    ck_assert_uint_eq(known(&f, &big, 7), 7);
    release(&f, &big);
    close_cache(&f);
}
END_TEST

START_TEST(a_block_used_anew_is_no_longer_what_it_was)
{
    struct fixture f;
    struct seq a, b;
    open_cache(&f, 3);
    seq_init(&a, 1, &plain);
    seq_init(&b, 2, &plain);
    compute(&f, &a, 3);
    release(&f, &a);
    ck_assert_int_eq(kv_table_grow(&f.kv, &b.table, 3 * B), KV_OK); /* taken, not computed yet */
    ck_assert_uint_eq(known(&f, &a, 3), 0);
    ck_assert_uint_eq(known(&f, &b, 3), 0);
    release(&f, &b);
    ck_assert_uint_eq(f.kv.n_free, 3);
    close_cache(&f);
}
END_TEST

START_TEST(a_dropped_adapters_blocks_are_forgotten_and_only_they)
{
    int one, two;
    const void *with_one[] = { &two, &one }, *with_two[] = { &two };
    const uint64_t v[] = { 1, 2 };
    const struct prefix_root a_root = { .adapters = with_one, .versions = v, .n_adapters = 2 },
                             b_root = { .adapters = with_two, .versions = v, .n_adapters = 1 };
    struct fixture f;
    struct seq a, b, held;
    open_cache(&f, BLOCKS);
    seq_init(&a, 1, &a_root);
    seq_init(&b, 1, &b_root);
    seq_init(&held, 1, &a_root);
    compute(&f, &a, 3);
    compute(&f, &b, 2);
    release(&f, &a);
    release(&f, &b);
    ck_assert_uint_eq(find(&f, &held, 1), 1);
    prefix_cache_forget(f.cache, &one);
    ck_assert_uint_eq(f.kv.n_free, BLOCKS - 3); /* b's two and the held one */
    ck_assert_uint_eq(known(&f, &a, 3), 0);
    ck_assert_uint_eq(known(&f, &b, 2), 2);
    ck_assert_int_eq(kv_table_grow(&f.kv, &held.table, 2 * B), KV_OK);
    add(&f, &held, 2);
    ck_assert_uint_eq(known(&f, &a, 3), 0); /* what a straggler adds is not found */
    release(&f, &held);
    prefix_cache_forget(f.cache, &two);
    ck_assert_uint_eq(f.kv.n_free, BLOCKS);
    close_cache(&f);
}
END_TEST

/* Blocks that the sequences hold, each counted once. */
static size_t count_held(const struct seq *s, size_t n)
{
    bool seen[64] = { false };
    size_t held = 0;
    for (size_t i = 0; i < n; i++)
        for (size_t b = 0; b < s[i].table.n; b++) {
            held += !seen[s[i].table.blocks[b]];
            seen[s[i].table.blocks[b]] = true;
        }
    return held;
}

/* Three beginnings of three blocks, each with three ends. */
static void branch_init(struct seq *s, unsigned begin, unsigned end)
{
    seq_init(s, 1 + (int32_t)(begin % 3), &plain);
    for (size_t i = 3 * (size_t)B; i < TOKENS; i++)
        s->ids[i] += (int32_t)(end % 3);
}

/* A sequence begins, goes on for a block, or ends. */
static void random_move(struct fixture *f, struct seq *q, unsigned random)
{
    size_t want = q->place.n + 1;
    if (q->table.n == 0) {
        branch_init(q, random >> 4, random >> 8);
        find(f, q, 5);
        want = q->place.n + 1;
    } else if ((random >> 10) % 4 == 0 || want > 6) {
        release(f, q);
        return;
    }
    if (kv_table_grow(&f->kv, &q->table, want * B) == KV_OK)
        add(f, q, want);
    else
        release(f, q);
}

/* A parent never goes before its child: whatever is kept can be reached from a root. */
START_TEST(random_use_keeps_every_known_block_reachable)
{
    enum { SEQS = 6, STEPS = 20000 };
    struct fixture f;
    static struct seq s[SEQS], all[9];
    unsigned state = 7;
    open_cache(&f, 24);
    for (int i = 0; i < SEQS; i++)
        branch_init(&s[i], 0, 0);
    for (int step = 0; step < STEPS; step++) {
        state = state * 1103515245 + 12345;
        random_move(&f, &s[(state >> 16) % SEQS], state >> 16);
        ck_assert_uint_eq(kv_cache_available(&f.kv) + count_held(s, SEQS), f.kv.n_blocks);
    }
    for (int i = 0; i < SEQS; i++)
        release(&f, &s[i]);
    for (unsigned i = 0; i < 9; i++) {
        branch_init(&all[i], i / 3, i);
        find(&f, &all[i], 8);
    }
    struct prefix_counts counts;
    prefix_cache_counts(f.cache, &counts);
    ck_assert_uint_gt(counts.evictions, 100);
    ck_assert_uint_gt(counts.blocks, 9);
    ck_assert_uint_eq(count_held(all, 9), counts.blocks);
    for (unsigned i = 0; i < 9; i++)
        release(&f, &all[i]);
    close_cache(&f);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        a_block_is_found_again_by_the_same_tokens_only_as_far_as_they_are_the_same,
        the_same_sixteen_tokens_at_another_place_are_another_block,
        nodes_in_one_bucket_are_not_mistaken_for_each_other,
        every_part_of_the_root_tells_prefixes_apart,
        media_tell_apart_their_block_and_all_behind_it,
        who_computed_the_same_meanwhile_gets_the_first_ones_block,
        blocks_found_later_replace_those_not_computed_yet,
        only_when_free_blocks_have_run_out_the_longest_unused_leaf_is_given_up,
        a_block_used_anew_is_no_longer_what_it_was,
        a_dropped_adapters_blocks_are_forgotten_and_only_they,
        random_use_keeps_every_known_block_reachable,
        NULL
    };
    return suite_run("prefix_cache", tests);
}
