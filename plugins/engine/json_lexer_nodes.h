/*
 * json_lexer_nodes.h - the kinds of nodes in an expression that is not deterministic yet.
 *
 * Shared by the lexer's files only.
 */
#ifndef AIRLOCK_JSON_LEXER_NODES_H
#define AIRLOCK_JSON_LEXER_NODES_H

enum lex_node_kind {
    LEX_SPLIT, /* goes on at next and, unless JSON_NONE, at other, without a byte */
    LEX_RANGE  /* at next, with a byte from low to high */
};

#endif
