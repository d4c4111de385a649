/* test_siphash.c - SipHash-2-4 gives the numbers that the paper and OpenSSL give. */
#include "engine/siphash.h"

#include "suite.h"

/* The key 00 01 .. 0f and messages 00 01 02 ...; 15 bytes is the example of the paper, the rest is
 * from: openssl mac -macopt hexkey:000102030405060708090a0b0c0d0e0f -macopt size:8 SIPHASH */
START_TEST(messages_of_all_tails_have_the_reference_hashes)
{
    static const struct {
        size_t size;
        uint64_t hash;
    } known[] = {
        { 0, 0x726fdb47dd0e0e31 },  { 1, 0x74f839c593dc67fd },  { 7, 0xab0200f58b01d137 },
        { 8, 0x93f5f5799a932462 },  { 15, 0xa129ca6149be45e5 }, { 16, 0x3f2acc7f57c29bdb },
        { 63, 0x958a324ceb064572 },
    };
    const struct siphash_key key = { 0x0706050403020100, 0x0f0e0d0c0b0a0908 };
    unsigned char message[64];
    for (size_t i = 0; i < sizeof message; i++)
        message[i] = (unsigned char)i;
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        ck_assert_uint_eq(siphash(&key, message, known[i].size), known[i].hash);
    ck_assert_uint_eq(siphash(&key, NULL, 0), known[0].hash);
}
END_TEST

START_TEST(another_key_gives_another_hash)
{
    const struct siphash_key a = { 1, 2 }, b = { 1, 3 }, c = { 2, 2 };
    ck_assert_uint_ne(siphash(&a, "block", 5), siphash(&b, "block", 5));
    ck_assert_uint_ne(siphash(&a, "block", 5), siphash(&c, "block", 5));
}
END_TEST

int main(void)
{
    const TTest *const tests[] = { messages_of_all_tails_have_the_reference_hashes,
                                   another_key_gives_another_hash, NULL };
    return suite_run("siphash", tests);
}
