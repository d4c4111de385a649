/*
 * plugin_elf.c - judges the ELF headers of a plugin before any of its code runs.
 */
#include "plugin_elf.h"

#include <elf.h>
#include <string.h>

#ifdef __x86_64__
enum { MACHINE = EM_X86_64 };
#elif defined __aarch64__
enum { MACHINE = EM_AARCH64 };
#else
#error "plugins are for x86-64 and aarch64"
#endif

enum { HEADERS_MAX = 64, SYMBOLS_MAX = 1 << 20 };

static const char ENTRY[] = "llm_plugin_query_1";

/* The file, and what its dynamic section says.  Addresses are the object's own. */
struct image {
    const unsigned char *bytes;
    size_t size;
    Elf64_Phdr headers[HEADERS_MAX];
    size_t n_headers;
    uint64_t flags, flags_1, symtab, strtab, strsz, hash, gnu_hash, rpath, runpath;
    bool bind_now, textrel, has_rpath, has_runpath;
    struct airlock_error *err;
};

static int wrong(struct image *im, const char *why)
{
    return airlock_error_set(im->err, AIRLOCK_E_CONFIG, "%s", why);
}

/* n bytes at a file offset, or NULL. */
static const void *at_offset(const struct image *im, uint64_t offset, uint64_t n)
{
    return offset <= im->size && n <= im->size - offset ? im->bytes + offset : NULL;
}

/* n bytes at an address of the loaded object, as far as the file backs them, or NULL. */
static const void *at_address(const struct image *im, uint64_t address, uint64_t n)
{
    for (size_t i = 0; i < im->n_headers; i++) {
        const Elf64_Phdr *h = &im->headers[i];
        if (h->p_type == PT_LOAD && address >= h->p_vaddr && address - h->p_vaddr <= h->p_filesz &&
            n <= h->p_filesz - (address - h->p_vaddr) &&
            h->p_offset <= UINT64_MAX - (address - h->p_vaddr))
            return at_offset(im, h->p_offset + (address - h->p_vaddr), n);
    }
    return NULL;
}

static bool word_at(const struct image *im, uint64_t address, uint32_t *out)
{
    const void *p = at_address(im, address, sizeof *out);
    if (p)
        memcpy(out, p, sizeof *out);
    return p != NULL;
}

/* A NUL-terminated string of the string table, or NULL. */
static const char *string_at(const struct image *im, uint64_t index)
{
    if (index >= im->strsz || im->strtab > UINT64_MAX - index)
        return NULL;
    const char *s = at_address(im, im->strtab + index, im->strsz - index);
    return s && memchr(s, 0, im->strsz - index) ? s : NULL;
}

static int read_headers(struct image *im)
{
    Elf64_Ehdr e;
    if (im->size < sizeof e)
        return wrong(im, "is not a shared object: the file is too short");
    memcpy(&e, im->bytes, sizeof e);
    if (memcmp(e.e_ident, ELFMAG, SELFMAG) != 0)
        return wrong(im, "is not a shared object: no ELF header");
    if (e.e_ident[EI_CLASS] != ELFCLASS64 || e.e_ident[EI_DATA] != ELFDATA2LSB ||
        e.e_machine != MACHINE)
        return wrong(im, "is for another kind of machine");
    if (e.e_type != ET_DYN || e.e_phnum == 0)
        return wrong(im, "is not a shared object: link it with -shared");
    const void *table = e.e_phentsize == sizeof(Elf64_Phdr) && e.e_phnum <= HEADERS_MAX
                            ? at_offset(im, e.e_phoff, (uint64_t)e.e_phnum * sizeof(Elf64_Phdr))
                            : NULL;
    if (!table)
        return wrong(im, "has malformed program headers");
    memcpy(im->headers, table, e.e_phnum * sizeof(Elf64_Phdr));
    im->n_headers = e.e_phnum;
    return 0;
}

static const Elf64_Phdr *header(const struct image *im, uint32_t type)
{
    for (size_t i = 0; i < im->n_headers; i++)
        if (im->headers[i].p_type == type)
            return &im->headers[i];
    return NULL;
}

static void take_dynamic(struct image *im, const Elf64_Dyn *d)
{
    switch (d->d_tag) {
    case DT_FLAGS:
        im->flags = d->d_un.d_val;
        break;
    case DT_FLAGS_1:
        im->flags_1 = d->d_un.d_val;
        break;
    case DT_BIND_NOW:
        im->bind_now = true;
        break;
    case DT_TEXTREL:
        im->textrel = true;
        break;
    case DT_RPATH:
        im->has_rpath = true;
        im->rpath = d->d_un.d_val;
        break;
    case DT_RUNPATH:
        im->has_runpath = true;
        im->runpath = d->d_un.d_val;
        break;
    case DT_SYMTAB:
        im->symtab = d->d_un.d_ptr;
        break;
    case DT_STRTAB:
        im->strtab = d->d_un.d_ptr;
        break;
    case DT_STRSZ:
        im->strsz = d->d_un.d_val;
        break;
    case DT_HASH:
        im->hash = d->d_un.d_ptr;
        break;
    case DT_GNU_HASH:
        im->gnu_hash = d->d_un.d_ptr;
        break;
    default:
        break;
    }
}

static int read_dynamic(struct image *im)
{
    const Elf64_Phdr *h = header(im, PT_DYNAMIC);
    const unsigned char *table = h ? at_offset(im, h->p_offset, h->p_filesz) : NULL;
    if (!table)
        return wrong(im, "is not a shared object: no dynamic section");
    for (uint64_t i = 0; i < h->p_filesz / sizeof(Elf64_Dyn); i++) {
        Elf64_Dyn d;
        memcpy(&d, table + i * sizeof d, sizeof d);
        if (d.d_tag == DT_NULL)
            return 0;
        take_dynamic(im, &d);
    }
    return wrong(im, "has a malformed dynamic section");
}

/* A search path must stay beside the plugin. */
static int judge_path(struct image *im, bool present, uint64_t index)
{
    const char *path = present ? string_at(im, index) : "";
    while (path && *path) {
        size_t n = strcspn(path, ":");
        static const char origin[] = "$ORIGIN";
        size_t k = sizeof origin - 1;
        bool inside = n >= k && strncmp(path, origin, k) == 0 && (n == k || path[k] == '/') &&
                      !memmem(path, n, "..", 2);
        if (!inside)
            return wrong(im, "has a library search path (RPATH) outside $ORIGIN: link it without "
                             "-rpath");
        path += n + (path[n] == ':');
    }
    return path ? 0 : wrong(im, "has a malformed library search path");
}

static int judge_flags(struct image *im)
{
    const Elf64_Phdr *stack = header(im, PT_GNU_STACK);
    if (im->flags_1 & DF_1_PIE)
        return wrong(im, "is a program, not a plugin: link it with -shared");
    if (!im->bind_now && !(im->flags & DF_BIND_NOW) && !(im->flags_1 & DF_1_NOW))
        return wrong(im, "is bound lazily: link it with -Wl,-z,now");
    if (!(im->flags_1 & DF_1_NODELETE))
        return wrong(im, "can be unmapped: link it with -Wl,-z,nodelete");
    if (im->textrel || (im->flags & DF_TEXTREL))
        return wrong(im, "has text relocations: compile it with -fPIC");
    if (!stack || (stack->p_flags & PF_X))
        return wrong(im, "asks for an executable stack: link it with -Wl,-z,noexecstack");
    if (judge_path(im, im->has_rpath, im->rpath) < 0)
        return -1;
    return judge_path(im, im->has_runpath, im->runpath);
}

/* Names that some linkers define in every shared object. */
static bool linkers_own(const char *name)
{
    static const char *const names[] = { "_init", "_fini", "_end", "_edata", "__bss_start" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(name, names[i]) == 0)
            return true;
    return false;
}

/* Looks at dynamic symbol i: only the entry may be seen by others. */
static int judge_symbol(struct image *im, uint64_t i, bool *entry)
{
    Elf64_Sym sym;
    const void *p = at_address(im, im->symtab + i * sizeof sym, sizeof sym);
    if (!p)
        return wrong(im, "has a malformed symbol table");
    memcpy(&sym, p, sizeof sym);
    unsigned bind = ELF64_ST_BIND(sym.st_info), visibility = ELF64_ST_VISIBILITY(sym.st_other);
    if (sym.st_shndx == SHN_UNDEF || bind == STB_LOCAL || visibility == STV_HIDDEN ||
        visibility == STV_INTERNAL)
        return 0;
    const char *name = string_at(im, sym.st_name);
    if (!name)
        return wrong(im, "has a malformed symbol table");
    if (strcmp(name, ENTRY) == 0 && ELF64_ST_TYPE(sym.st_info) == STT_FUNC)
        *entry = true;
    else if (!linkers_own(name))
        return airlock_error_set(im->err, AIRLOCK_E_CONFIG,
                                 "exports %.100s besides %s: compile it with -fvisibility=hidden, "
                                 "or (C++) link it with a version script",
                                 name, ENTRY);
    return 0;
}

/* Number of dynamic symbols by the GNU hash table: the end of the last chain. */
static int count_by_gnu_hash(struct image *im, uint64_t *count)
{
    uint32_t buckets, first, bloom, last = 0, hash;
    if (!word_at(im, im->gnu_hash, &buckets) || !word_at(im, im->gnu_hash + 4, &first) ||
        !word_at(im, im->gnu_hash + 8, &bloom))
        return -1;
    uint64_t table = im->gnu_hash + 16 + 8 * (uint64_t)bloom;
    for (uint64_t i = 0; i < buckets; i++) {
        uint32_t chain;
        if (!word_at(im, table + 4 * i, &chain))
            return -1;
        last = chain > last ? chain : last;
    }
    *count = first;
    if (last < first)
        return 0; /* every bucket is empty */
    for (uint64_t i = last; i < SYMBOLS_MAX; i++) {
        if (!word_at(im, table + 4 * (uint64_t)buckets + 4 * (i - first), &hash))
            return -1;
        if (hash & 1) {
            *count = i + 1;
            return 0;
        }
    }
    return -1;
}

static int judge_symbols(struct image *im)
{
    uint64_t count = 0;
    uint32_t chains = 0;
    bool entry = false;
    if (im->gnu_hash ? count_by_gnu_hash(im, &count) < 0
                     : !im->hash || !word_at(im, im->hash + 4, &chains))
        return wrong(im, "has a malformed symbol hash table");
    count = im->gnu_hash ? count : chains;
    for (uint64_t i = 1; i < count && i < SYMBOLS_MAX; i++)
        if (judge_symbol(im, i, &entry) < 0)
            return -1;
    if (!entry)
        return wrong(im, "is not an Airlock plugin of ABI major 1: it does not export "
                         "llm_plugin_query_1");
    return 0;
}

static int read_note(struct image *im, const Elf64_Phdr *h, struct plugin_elf *out)
{
    const unsigned char *p = at_offset(im, h->p_offset, h->p_filesz);
    uint64_t left = h->p_filesz;
    if (!p)
        return wrong(im, "has a malformed note");
    while (left >= sizeof(Elf64_Nhdr)) {
        Elf64_Nhdr n;
        memcpy(&n, p, sizeof n);
        uint64_t align = h->p_align == 8 ? 8 : 4;
        uint64_t name = ((uint64_t)n.n_namesz + align - 1) & ~(align - 1);
        uint64_t whole = sizeof n + name + (((uint64_t)n.n_descsz + align - 1) & ~(align - 1));
        if (whole > left)
            return 0; /* padding, or a note that is not ours */
        if (n.n_type == 1 && n.n_namesz == 8 && n.n_descsz == sizeof out->note &&
            memcmp(p + sizeof n, "airlock", 8) == 0) {
            memcpy(out->note, p + sizeof n + name, sizeof out->note);
            out->has_note = true;
        }
        p += whole;
        left -= whole;
    }
    return 0;
}

int plugin_elf_judge(const void *bytes, size_t size, struct plugin_elf *out,
                     struct airlock_error *err)
{
    struct image im = { .bytes = bytes, .size = size, .err = err };
    *out = (struct plugin_elf){ 0 };
    if (read_headers(&im) < 0 || read_dynamic(&im) < 0 || judge_flags(&im) < 0 ||
        judge_symbols(&im) < 0)
        return -1;
    for (size_t i = 0; i < im.n_headers; i++)
        if (im.headers[i].p_type == PT_NOTE && read_note(&im, &im.headers[i], out) < 0)
            return -1;
    return 0;
}
