#!/bin/sh
# headers.sh - reads the plugin headers and writes C programs that know every struct, member and constant in them.
#
# usage: headers.sh layout INCLUDE-DIR TARGET    a program that prints the table of constants, sizes and offsets
#        headers.sh witness INCLUDE-DIR TARGET   a function that takes a pointer to every struct, for abidw
# Relies on the headers' own form: `typedef struct NAME { ... } NAME;`, one declaration a line or wrapped.
set -eu
what=$1
dir=$2
target=$3
cat "$dir/airlock/llm_abi.h" "$dir/airlock/llm_model.h" "$dir/airlock/llm_adapter.h" |
    awk -v what="$what" -v target="$target" '
    # comments go, whatever lines they span; preprocessor lines are kept apart
    { line = $0
      while (1) {
          if (open) {
              p = index(line, "*/")
              if (!p) { line = ""; break }
              line = substr(line, p + 2); open = 0
          }
          p = index(line, "/*")
          if (!p) break
          head = substr(line, 1, p - 1); rest = substr(line, p + 2); q = index(rest, "*/")
          if (q) line = head " " substr(rest, q + 2); else { kept = head; open = 1; line = kept; break }
      }
      if (line ~ /^#define LLM_[A-Z0-9_]+ +[0-9]+ *$/) { split(line, w, " "); constants[++nc] = w[2] }
      if (line ~ /^#define LLM_(SVC|EXT)_[A-Z0-9_]+ /) { split(line, w, " "); strings[++ns] = w[2] }
      if (depth && line ~ /^#if LLM_ABI_TARGET >= /) { split(line, w, " "); skip = w[4] > target + 0 }
      if (line ~ /^#endif/) skip = 0
      if (line ~ /^#/ || skip) next
      if (!depth && line ~ /^typedef struct [a-z_]+ \{/) {
          split(line, w, " "); name = w[3]; structs[++nt] = name; kind = "struct"; depth = 1; text = ""; next }
      if (!depth && line ~ /^enum \{/) { kind = "enum"; depth = 1; text = ""; sub(/^enum \{/, "", line) }
      if (!depth) next
      if (line ~ /^\}/ || (kind == "enum" && line ~ /\};/)) {
          if (kind == "enum") { sub(/\};.*/, "", line); text = text " " line; take_enum() } else take_struct()
          depth = 0; next }
      text = text " " line
    }
    function take_enum(   n, i, a) {
        n = split(text, a, ",")
        for (i = 1; i <= n; i++) { gsub(/=.*/, "", a[i]); gsub(/[ \t]/, "", a[i]); if (a[i] != "") constants[++nc] = a[i] }
    }
    function take_struct(   n, i, a, m) {
        n = split(text, a, ";")
        for (i = 1; i <= n; i++) {
            if (a[i] ~ /^[ \t]*$/) continue
            if (match(a[i], /\(\*[a-z_]+\)\(/)) m = substr(a[i], RSTART + 2, RLENGTH - 4)
            else { m = a[i]; sub(/\[[^]]*\][ \t]*$/, "", m); sub(/[ \t]+$/, "", m); sub(/^.*[ \t*]/, "", m) }
            members[++nm] = name " " m
        }
    }
    END {
        print "#include <airlock/llm_adapter.h>\n#include <airlock/llm_model.h>\n#include <stdio.h>"
        if (what == "witness") {
            print "__attribute__((visibility(\"default\"))) void witness("
            for (i = 1; i <= nt; i++) print "    " structs[i] " *p" i (i < nt ? "," : ");")
            print "void witness("
            for (i = 1; i <= nt; i++) print "    " structs[i] " *p" i (i < nt ? "," : ")\n{")
            for (i = 1; i <= nt; i++) print "    (void)p" i ";"
            print "}"; exit }
        print "#define SIZE(t) printf(\"sizeof %s %zu\\n\", #t, sizeof(t));"
        print "#define AT(t, m) printf(\"member %s.%s offset %zu size %zu\\n\", #t, #m, offsetof(t, m), sizeof(((t *)0)->m));"
        print "#define IS(c) printf(\"constant %s %lld\\n\", #c, (long long)(c));"
        print "int main(void)\n{"
        for (i = 1; i <= nt; i++) {
            print "    SIZE(" structs[i] ")"
            for (k = 1; k <= nm; k++) { split(members[k], w, " "); if (w[1] == structs[i]) print "    AT(" w[1] ", " w[2] ")" }
        }
        for (i = 1; i <= nc; i++) if (constants[i] !~ /^LLM_ABI_(MINOR|TARGET|NEEDED)$/) print "    IS(" constants[i] ")"
        for (i = 1; i <= ns; i++) print "    printf(\"string " strings[i] " %s\\n\", " strings[i] ");"
        print "    return 0;\n}"
    }'
