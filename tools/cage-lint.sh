#!/usr/bin/env bash
# Code of users runs in the cage: finds calls of PostgreSQL's function manager, parser, planner, executor and SPI in
# files that src/cage/outside.txt does not name, and names in it that are there for nothing.
set -euo pipefail
. "$(dirname "$0")/env.sh"
cd "$ROOT"

calls='InputFunctionCall|OutputFunctionCall|FunctionCall[0-9]+Coll|OidFunctionCall|Spi::|SPI_[a-z]|ExecQual|ExecPrepare'
calls+='|ExecEvalExpr|ExecInitExpr|FormIndexDatum|BuildIndexInfo|RelationGetIndex(Expressions|Predicate)'
calls+='|transformExpr|raw_parser|parse_expression|expression_planner|eval_const|direct_function_call|fmgr_info'
calls+='|DomainHasConstraints|RelationGetPartitionKey'

list=src/cage/outside.txt
failed=0
named=$(sed -E '/^(#|$)/d; s/ .*//' $list | sort)
found=$(grep -rlE "$calls" src --include='*.rs' | grep -v '^src/cage/' | sort)
for file in $(comm -13 <(printf '%s\n' "$named") <(printf '%s\n' "$found")); do
    say "$file calls what may run code of users, and $list does not say why it may"
    grep -nE "$calls" "$file" >&2
    failed=1
done
for file in $(comm -23 <(printf '%s\n' "$named") <(printf '%s\n' "$found")); do
    say "$list names $file, which calls nothing of that kind"
    failed=1
done
[ $failed = 0 ]
