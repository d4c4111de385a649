/* test_media_turns.c - encoders beside decode: others' answers go on and keep their bits, small
 * pictures do not wait for long sounds, whoever gives up is let go, and what was encoded is kept.
 */
#include "multimodal_support.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <time.h>

/* Four minutes at 16 kHz: 6 chunks of 25 + 1 + 1 slices, 3000 tokens. */
enum { SECONDS = 240, SLICES = 6 * 27, PATIENCE_MS = 60000 };

static llm_media sound(unsigned seconds, unsigned seed)
{
    const size_t n = (size_t)seconds * 16000, size = 44 + 2 * n;
    const uint32_t header[] = {
        0x46464952, (uint32_t)size - 8, 0x45564157, 0x20746d66,         16, 0x00010001, 16000,
        32000,      0x00100002,         0x61746164, (uint32_t)size - 44
    };
    unsigned char *p = malloc(size);
    ck_assert_ptr_nonnull(p);
    memcpy(p, header, sizeof header);
    for (size_t i = 0; i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        const int16_t value = (int16_t)((seed >> 18) % 8001) - 4000;
        memcpy(p + 44 + 2 * i, &value, 2);
    }
    return (llm_media){ .struct_size = sizeof(llm_media), .bytes = { (char *)p, size } };
}

static llm_media picture(const char *name)
{
    size_t size;
    char *p = golden_file("images", name, &size);
    return (llm_media){ .struct_size = sizeof(llm_media), .bytes = { p, size } };
}

static void media_free(const llm_media *m)
{
    free((void *)(uintptr_t)m->bytes.ptr);
}

static void same_bits(const struct answer *a, const struct answer *b)
{
    ck_assert_msg(a->status == LLM_OK && b->status == LLM_OK, "%s%s", a->err.text, b->err.text);
    ck_assert_uint_eq(a->n, b->n);
    ck_assert_mem_eq(a->ids, b->ids, a->n * sizeof *a->ids);
    ck_assert_mem_eq(a->logprobs, b->logprobs, a->n * sizeof *a->logprobs);
}

/* Waits until *flag is at least value; false: for too long. */
static bool wait_for(atomic_int *flag, int value)
{
    for (int ms = 0; ms < PATIENCE_MS && atomic_load(flag) < value; ms++)
        usleep(1000);
    return atomic_load(flag) >= value;
}

/* A query in a thread of its own. */
struct caller {
    pthread_t thread;
    llm_message message;
    struct query query;
    struct answer answer;
    atomic_int calls, done;
    int stop_at; /* call of cancelled() that says yes; 0: none does */
};

static int count_calls(void *ctx, size_t call)
{
    struct caller *c = ctx;
    atomic_store(&c->calls, (int)call);
    return c->stop_at && call >= (size_t)c->stop_at;
}

static void *caller_run(void *arg)
{
    struct caller *c = arg;
    c->query.messages = &c->message;
    c->query.n_messages = 1;
    ask_query(&c->answer, &c->query);
    atomic_store(&c->done, 1);
    return NULL;
}

static void caller_start(struct caller *c)
{
    if (!c->answer.cancelled) {
        c->answer.cancelled = count_calls;
        c->answer.ctx = c;
    }
    ck_assert_int_eq(pthread_create(&c->thread, NULL, caller_run, c), 0);
}

/* A long sound whose encoding halts in its call number 60, in the middle of a chunk, until the test
 * goes on. */
struct halting {
    struct caller caller;
    atomic_int halted, go_on;
};

static int halt(void *ctx, size_t call)
{
    struct halting *h = ctx;
    if (call == 60) {
        atomic_store(&h->halted, 1);
        wait_for(&h->go_on, 1);
    }
    return 0;
}

static void halting_start(struct halting *h, const llm_media *media)
{
    h->caller.message = message_of(LLM_ROLE_USER, "<|audio_1|>what");
    h->caller.query = (struct query){ .media = { *media }, .n_audios = 1 };
    h->caller.answer.cancelled = halt;
    h->caller.answer.ctx = h;
    caller_start(&h->caller);
    ck_assert(wait_for(&h->halted, 1));
    ck_assert_int_eq(atomic_load(&h->caller.done), 0);
}

static void halting_end(struct halting *h)
{
    atomic_store(&h->go_on, 1);
    pthread_join(h->caller.thread, NULL);
    ck_assert_msg(h->caller.answer.status == LLM_OK, "%s", h->caller.answer.err.text);
    ck_assert_uint_ge(h->caller.answer.calls_before_token, SLICES);
}

START_TEST(others_decode_in_the_middle_of_an_encoding_with_the_same_bits)
{
    static struct halting h;
    struct answer alone = { 0 }, beside = { 0 };
    const llm_media media = sound(SECONDS, 1);
    const llm_message message = message_of(LLM_ROLE_USER, "who are you");
    const struct query q = { .messages = &message, .n_messages = 1, .max_new_tokens = 12 };
    ask_query(&alone, &q);
    halting_start(&h, &media);
    ask_query(&beside, &q); /* would wait for ever for a device that the encoder keeps */
    same_bits(&alone, &beside);
    ck_assert_int_eq(atomic_load(&h.caller.done), 0);
    halting_end(&h);
    media_free(&media);
}
END_TEST

START_TEST(decode_keeps_its_bits_while_sound_is_encoded)
{
    static struct caller c;
    struct answer alone = { 0 }, beside = { 0 };
    const llm_media media = sound(SECONDS, 2);
    const llm_message message = message_of(LLM_ROLE_USER, "how do you do");
    const struct query q = { .messages = &message, .n_messages = 1, .max_new_tokens = 12 };
    size_t rounds = 0;
    ask_query(&alone, &q);
    c.message = message_of(LLM_ROLE_USER, "<|audio_1|>what");
    c.query = (struct query){ .media = { media }, .n_audios = 1 };
    caller_start(&c);
    for (; rounds < 3 || !atomic_load(&c.done); rounds++) {
        ask_query(&beside, &q);
        same_bits(&alone, &beside);
    }
    pthread_join(c.thread, NULL);
    ck_assert_msg(c.answer.status == LLM_OK, "%s", c.answer.err.text);
    media_free(&media);
}
END_TEST

/* Slows the sound down while the picture is on its way, up to a bound. */
struct slow {
    struct caller caller, *other;
    bool started, in_time; /* in_time: the other was done before the sound could be */
};

static int let_the_other_in(void *ctx, size_t call)
{
    struct slow *s = ctx;
    if (call < 30)
        return 0;
    if (!s->started)
        caller_start(s->other);
    s->started = true;
    for (int ms = 0; ms < 60 && !atomic_load(&s->other->done); ms += 5)
        usleep(5000);
    s->in_time = s->in_time || (atomic_load(&s->other->done) && call < SLICES);
    return 0;
}

START_TEST(a_small_picture_does_not_wait_for_the_end_of_a_long_sound)
{
    static struct caller c;
    static struct slow s = { .other = &c };
    const llm_media media = sound(SECONDS, 3), small = picture("rgb.png");
    c.message = message_of(LLM_ROLE_USER, "<|image_1|>what");
    c.query = (struct query){ .media = { small }, .n_images = 1 };
    s.caller.message = message_of(LLM_ROLE_USER, "<|audio_1|>what");
    s.caller.query = (struct query){ .media = { media }, .n_audios = 1 };
    s.caller.answer.cancelled = let_the_other_in;
    s.caller.answer.ctx = &s;
    caller_start(&s.caller);
    pthread_join(s.caller.thread, NULL);
    ck_assert(s.in_time);
    pthread_join(c.thread, NULL);
    ck_assert(s.caller.answer.status == LLM_OK && c.answer.status == LLM_OK);
    media_free(&media);
    media_free(&small);
}
END_TEST

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

START_TEST(who_gives_up_is_let_go_while_waiting_and_within_a_slice)
{
    static struct halting h;
    static struct caller waiting = { .stop_at = 3 }, late, middle = { .stop_at = 90 };
    const llm_media media = sound(SECONDS, 4), small = picture("rgb.png");
    halting_start(&h, &media);
    waiting.message = late.message = message_of(LLM_ROLE_USER, "<|image_1|>what");
    waiting.query = late.query = (struct query){ .media = { small }, .n_images = 1 };
    late.query.deadline_ns = now_ns() + 200000000;
    caller_start(&waiting);
    caller_start(&late);
    pthread_join(waiting.thread, NULL);
    pthread_join(late.thread, NULL);
    ck_assert_int_eq(waiting.answer.status, LLM_E_CANCELLED);
    ck_assert_int_eq(late.answer.status, LLM_E_CANCELLED);
    ck_assert_int_eq(atomic_load(&h.caller.done), 0); /* it still has the encoders */
    halting_end(&h);
    /* Nobody asks again after the first yes. */
    middle.message = message_of(LLM_ROLE_USER, "<|audio_1|>what");
    const llm_media other = sound(SECONDS, 5);
    middle.query = (struct query){ .media = { other }, .n_audios = 1 };
    caller_start(&middle);
    pthread_join(middle.thread, NULL);
    ck_assert_int_eq(middle.answer.status, LLM_E_CANCELLED);
    ck_assert_uint_eq(middle.answer.calls, 90);
    media_free(&media);
    media_free(&other);
    media_free(&small);
}
END_TEST

static void ask_sound(struct answer *a, const llm_media *media, const char *content,
                      const char *salt)
{
    const llm_message message = message_of(LLM_ROLE_USER, content);
    const struct query q = {
        .messages = &message, .n_messages = 1, .media = { *media }, .n_audios = 1, .salt = salt
    };
    ask_query(a, &q);
    ck_assert_msg(a->status == LLM_OK, "%s", a->err.text);
}

/* A hit asks few times whether it is still wanted: once in 50 ms, but not for each slice. */
static void was_encoded(const struct answer *a, bool yes)
{
    ck_assert_msg(yes ? a->calls_before_token >= SLICES : a->calls_before_token < SLICES / 2,
                  "asked %zu times", a->calls_before_token);
}

START_TEST(what_was_encoded_is_found_again_by_the_same_caller_with_the_same_bits)
{
    struct answer first = { 0 }, again = { 0 }, fresh = { 0 }, follow = { 0 };
    const llm_media media = sound(SECONDS, 6), other = sound(SECONDS, 7);
    ask_sound(&first, &media, "a<|audio_1|>", NULL);
    was_encoded(&first, true);
    ask_sound(&again, &media, "bb<|audio_1|>", NULL); /* another prefix: only embeddings are kept */
    was_encoded(&again, false);
    ck_assert_uint_lt(again.stats.tokens_cached, 16);
    ask_sound(&follow, &media, "bb<|audio_1|>and now?", NULL); /* costs only the new tokens */
    was_encoded(&follow, false);
    ck_assert_uint_lt(follow.stats.tokens_in - follow.stats.tokens_cached, 16 + 20);
    ask_sound(&follow, &media, "bb<|audio_1|>", "somebody else's salt");
    was_encoded(&follow, true);
    ck_assert_uint_eq(follow.stats.tokens_cached, 0);
    same_bits(&follow, &again);
    ask_sound(&follow, &other, "bb<|audio_1|>", NULL);
    was_encoded(&follow, true);
    ck_assert_uint_lt(follow.stats.tokens_cached, 16);
    ck_assert(memcmp(follow.logprobs, again.logprobs, sizeof again.logprobs) != 0);
    teardown();
    open_model(",\"media_cache_mib\":0");
    ask_sound(&fresh, &media, "bb<|audio_1|>", NULL);
    same_bits(&fresh, &again);
    ask_sound(&fresh, &media, "c<|audio_1|>", NULL);
    was_encoded(&fresh, true); /* nothing is kept */
    media_free(&media);
    media_free(&other);
}
END_TEST

START_TEST(a_second_picture_leaves_the_first_in_the_prefix_cache)
{
    struct answer a = { 0 }, b = { 0 }, swapped = { 0 };
    const llm_media one = picture("rgb.png"), two = picture("palette.gif");
    const llm_message messages[] = { message_of(LLM_ROLE_USER, "<|image_1|>what is it"),
                                     message_of(LLM_ROLE_ASSISTANT, "a dog"),
                                     message_of(LLM_ROLE_USER, "<|image_2|>and that?") };
    struct query q = { .messages = messages, .n_messages = 1, .media = { one }, .n_images = 1 };
    ask_query(&a, &q);
    const size_t before = a.stats.tokens_in;
    q = (struct query){
        .messages = messages, .n_messages = 3, .media = { one, two }, .n_images = 2
    };
    ask_query(&b, &q);
    ck_assert_msg(b.status == LLM_OK, "%s", b.err.text);
    ck_assert_uint_ge(b.stats.tokens_cached + 2 * 16, before);
    q.media[0] = two;
    q.media[1] = one;
    ask_query(&swapped, &q);
    ck_assert_uint_lt(swapped.stats.tokens_cached, 16);
    teardown();
    setup();
    ask_query(&a, &q); /* alone, nothing cached */
    same_bits(&a, &swapped);
    q.media[0] = one;
    q.media[1] = two;
    ask_query(&a, &q);
    same_bits(&a, &b);
    media_free(&one);
    media_free(&two);
}
END_TEST

START_TEST(a_sound_alone_and_beside_a_longer_one_are_two)
{
    struct answer alone = { 0 }, both = { 0 }, fresh = { 0 };
    const llm_media a = sound(45, 8), b = sound(50, 9);
    const llm_message one = message_of(LLM_ROLE_USER, "<|audio_1|>");
    const llm_message two = message_of(LLM_ROLE_USER, "<|audio_1|><|audio_2|>");
    const struct query q1 = { .messages = &one, .n_messages = 1, .media = { a }, .n_audios = 1 };
    const struct query q2 = { .messages = &two, .n_messages = 1, .media = { a, b }, .n_audios = 2 };
    ask_query(&alone, &q1);
    ask_query(&both, &q2);
    teardown();
    setup();
    ask_query(&fresh, &q2);
    same_bits(&fresh, &both);
    ask_query(&fresh, &q2); /* from both caches */
    same_bits(&fresh, &both);
    ck_assert_uint_gt(fresh.stats.tokens_cached, 1000);
    ask_query(&fresh, &q1);
    same_bits(&fresh, &alone);
    media_free(&a);
    media_free(&b);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("media_turns");
    TCase *t = tcase_create("media_turns");
    tcase_set_timeout(t, 300);
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, others_decode_in_the_middle_of_an_encoding_with_the_same_bits);
    tcase_add_test(t, decode_keeps_its_bits_while_sound_is_encoded);
    tcase_add_test(t, a_small_picture_does_not_wait_for_the_end_of_a_long_sound);
    tcase_add_test(t, who_gives_up_is_let_go_while_waiting_and_within_a_slice);
    tcase_add_test(t, what_was_encoded_is_found_again_by_the_same_caller_with_the_same_bits);
    tcase_add_test(t, a_second_picture_leaves_the_first_in_the_prefix_cache);
    tcase_add_test(t, a_sound_alone_and_beside_a_longer_one_are_two);
    suite_add_tcase(suite, t);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
