/* languages.c - ISO 639-1 codes and names; see languages.h. */
#include "server/languages.h"

#include <strings.h>

static const struct {
    char code[3];
    const char *name;
} languages[] = {
    { "af", "Afrikaans" },  { "ar", "Arabic" },     { "az", "Azerbaijani" }, { "be", "Belarusian" },
    { "bg", "Bulgarian" },  { "bs", "Bosnian" },    { "ca", "Catalan" },     { "cs", "Czech" },
    { "cy", "Welsh" },      { "da", "Danish" },     { "de", "German" },      { "el", "Greek" },
    { "en", "English" },    { "es", "Spanish" },    { "et", "Estonian" },    { "fa", "Persian" },
    { "fi", "Finnish" },    { "fr", "French" },     { "gl", "Galician" },    { "he", "Hebrew" },
    { "hi", "Hindi" },      { "hr", "Croatian" },   { "hu", "Hungarian" },   { "hy", "Armenian" },
    { "id", "Indonesian" }, { "is", "Icelandic" },  { "it", "Italian" },     { "ja", "Japanese" },
    { "kk", "Kazakh" },     { "kn", "Kannada" },    { "ko", "Korean" },      { "lt", "Lithuanian" },
    { "lv", "Latvian" },    { "mi", "Maori" },      { "mk", "Macedonian" },  { "mr", "Marathi" },
    { "ms", "Malay" },      { "ne", "Nepali" },     { "nl", "Dutch" },       { "no", "Norwegian" },
    { "pl", "Polish" },     { "pt", "Portuguese" }, { "ro", "Romanian" },    { "ru", "Russian" },
    { "sk", "Slovak" },     { "sl", "Slovenian" },  { "sr", "Serbian" },     { "sv", "Swedish" },
    { "sw", "Swahili" },    { "ta", "Tamil" },      { "th", "Thai" },        { "tl", "Tagalog" },
    { "tr", "Turkish" },    { "uk", "Ukrainian" },  { "ur", "Urdu" },        { "vi", "Vietnamese" },
    { "zh", "Chinese" },
};

const char *language_name(const char *code, size_t n)
{
    for (size_t i = 0; n == 2 && i < sizeof languages / sizeof *languages; i++)
        if (strncasecmp(languages[i].code, code, 2) == 0)
            return languages[i].name;
    return NULL;
}
