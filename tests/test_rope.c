/* test_rope.c - rotary angles: frequencies, LongRoPE's two factor sets, the attention factor. */
#include "engine/rope.h"

#include <check.h>
#include <math.h>

/* Phi-4-mini's own: 96 rotary dimensions, 4096 original positions, 131072 in all. */
static struct phi4_config phi4_mini(void)
{
    struct phi4_config c = { .rotary_dim = 96,
                             .rope_theta = 10000,
                             .longrope = true,
                             .original_max_position_embeddings = 4096,
                             .max_position_embeddings = 131072 };
    c.attention_factor = sqrt(1 + log(32.0) / log(4096.0));
    for (size_t i = 0; i < 48; i++) {
        c.short_factor[i] = 1;
        c.long_factor[i] = 1 + (float)i;
    }
    return c;
}

START_TEST(position_zero_is_not_turned_but_scaled_by_the_attention_factor)
{
    struct phi4_config c = phi4_mini();
    struct rope r;
    float cos_row[48], sin_row[48];
    rope_init(&r, &c);
    rope_row(&r, false, 0, cos_row, sin_row);
    for (size_t i = 0; i < 48; i++) {
        ck_assert_float_eq(cos_row[i], 1.1902380714f);
        ck_assert_float_eq(sin_row[i], 0);
    }
}
END_TEST

START_TEST(angles_are_position_over_factor_times_theta_to_the_pair)
{
    struct phi4_config c = phi4_mini();
    struct rope r;
    float cos_row[48], sin_row[48];
    rope_init(&r, &c);
    ck_assert_uint_eq(r.pairs, 48);
    for (int use_long = 0; use_long < 2; use_long++) {
        rope_row(&r, use_long, 1000, cos_row, sin_row);
        for (size_t i = 0; i < 48; i++) {
            double factor = use_long ? 1 + (double)i : 1;
            double angle = 1000 / (factor * pow(10000, 2.0 * (double)i / 96));
            /* float32 frequencies: three roundings of 2^-24 on an angle of up to 1000 */
            ck_assert_double_eq_tol(cos_row[i], 1.1902380714 * cos(angle),
                                    1.2 * 1000 * 3 * 0x1p-24);
            ck_assert_double_eq_tol(sin_row[i], 1.1902380714 * sin(angle),
                                    1.2 * 1000 * 3 * 0x1p-24);
        }
    }
}
END_TEST

START_TEST(the_length_of_the_sequence_chooses_the_factors)
{
    struct phi4_config c = phi4_mini();
    struct rope r;
    rope_init(&r, &c);
    ck_assert(!rope_is_long(&r, 1));
    ck_assert(!rope_is_long(&r, 4096));
    ck_assert(rope_is_long(&r, 4097));
    ck_assert(rope_is_long(&r, 131072));
}
END_TEST

START_TEST(plain_rope_has_no_factors_and_never_changes)
{
    struct phi4_config c = phi4_mini();
    struct rope r;
    float cos_row[48], sin_row[48];
    c.longrope = false;
    rope_init(&r, &c);
    ck_assert(!rope_is_long(&r, 1 << 20));
    rope_row(&r, false, 1, cos_row, sin_row);
    ck_assert_double_eq_tol(cos_row[0], cos(1), 1e-7);
    ck_assert_double_eq_tol(sin_row[47], sin(pow(10000, -94.0 / 96)), 1e-7);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("rope");
    TCase *t = tcase_create("angles");
    tcase_add_test(t, position_zero_is_not_turned_but_scaled_by_the_attention_factor);
    tcase_add_test(t, angles_are_position_over_factor_times_theta_to_the_pair);
    tcase_add_test(t, the_length_of_the_sequence_chooses_the_factors);
    tcase_add_test(t, plain_rope_has_no_factors_and_never_changes);
    suite_add_tcase(suite, t);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
