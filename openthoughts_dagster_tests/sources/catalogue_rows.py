"""One row of every dataset of the catalogue with its real columns, as its card or its users show them.

By source: the row, and what the question has to be. `...` stands where the row's only text is the question.
"""

from typing import Any

CHAT = [{"role": "user", "content": "Q?"}, {"role": "assistant", "content": "A."}]
SHAREGPT = [{"from": "human", "value": "Q?"}, {"from": "gpt", "value": "A."}]
PRIME = {
    "problem_id": "p1",
    "source": "s",
    "in_source_id": "7",
    "task_type": "t",
    "prompt": "Q?",
    "gold_standard_solution": "A.",
    "verification_info": "{}",
    "metadata": "{}",
}
CAMEL = {"role_1": "Physicist", "topic;": "Optics", "sub_topic": "Lenses", "message_1": "Q?", "message_2": "A."}
BYTES = {"question": "b'Expand (x + 1)**2.\\n'", "answer": "b'x**2 + 2*x + 1\\n'"}

ROWS: dict[str, tuple[dict[str, Any], str, str | None]] = {
    # code
    "opencodereasoning": (
        {
            "id": "i",
            "input": "Q?",
            "output": "<think>",
            "source": "codeforces",
            "license": "cc-by-4.0",
            "dataset": "apps",
            "split": "train",
            "difficulty": "EASY",
            "solution": "x",
        },
        "Q?",
        None,
    ),
    "kodcode": (
        {
            "style": "instruct",
            "subset": "Leetcode",
            "question_id": "L1",
            "question": "Q?",
            "solution": "A.",
            "test": "t",
            "test_info": [],
            "gpt_difficulty": "hard",
        },
        "Q?",
        "A.",
    ),
    "codefeedback": ({"query": "Q?", "answer": "A.", "resource": "r", "lang": "python"}, "Q?", "A."),
    "dolphin-coder": ({"system_prompt": "s", "question": "Q?", "response": "A."}, "Q?", "A."),
    "opencoder": ({"seq_id": 1, "instruction": "Q?", "output": "A.", "tag": "t"}, "Q?", "A."),
    "mceval-instruct": ({"instruction": "Q?", "output": "A.", "language": "Go", "source": "s"}, "Q?", "A."),
    "code-290k-sharegpt": ({"id": "1", "conversations": SHAREGPT}, "Q?", "A."),
    "glaive-code-assistant": ({"question": "Q?", "answer": "A."}, "Q?", "A."),
    "rosetta-code": (
        {"task_url": "u", "task_name": "n", "task_description": "Q?", "language_name": "Ada", "code": "A."},
        "Q?\n\nWrite it in Ada.",
        "A.",
    ),
    "coder-stat": ({"code": "int x = 1"}, "int x = 1", None),
    "magicoder-oss-instruct": (
        {
            "lang": "python",
            "raw_index": 1,
            "index": 2,
            "seed": "s",
            "openai_fingerprint": "f",
            "problem": "Q?",
            "solution": "A.",
        },
        "Q?",
        "A.",
    ),
    "apps": (
        {
            "problem_id": 1,
            "question": "Q?",
            "solutions": "[]",
            "input_output": "{}",
            "difficulty": "interview",
            "url": "u",
            "starter_code": "",
        },
        "Q?",
        None,
    ),
    "tiny-codes": (
        {"prompt": "Q?", "main_topic": "m", "programming_language": "Lua", "idx": 3, "response": "A."},
        "Q?",
        "A.",
    ),
    "commitpackft": (
        {
            "commit": "c",
            "old_file": "a.py",
            "new_file": "a.py",
            "old_contents": "x = 1\n",
            "new_contents": "x = 2\n",
            "subject": "Set x",
            "message": "Set x\n",
            "lang": "Python",
            "license": "mit",
            "repos": "r",
        },
        "Set x\n\n```\nx = 1\n\n```",
        "x = 2",
    ),
    "code-contests": (
        {
            "name": "1_A",
            "description": "Q?",
            "public_tests": {"input": ["1"], "output": ["2"]},
            "source": 2,
            "difficulty": 7,
            "cf_rating": 1200,
            "solutions": {"language": [3], "solution": ["x"]},
        },
        "Q?",
        None,
    ),
    "reflectionseq": (
        {
            "messages": '[{"role": "user", "content": [{"type": "text", "content": "Q?"}]}, {"role": "assistant", '
            '"content": [{"type": "text", "content": "A."}]}]',
            "type": "reflection",
        },
        "Q?",
        None,
    ),
    "codeforces-python-submissions": (
        {
            "contestId": 1,
            "index": "A",
            "name": "n",
            "rating": 800,
            "tags": ["math"],
            "title": "Sum",
            "problem-description": "Add.",
            "input-specification": "Two numbers.",
            "output-specification": "One.",
            "demo-input": ["1 2"],
            "verdict": "OK",
            "code": "x",
            "prompt": "p",
            "response": "r",
        },
        "Sum\n\nAdd.\n\nInput: Two numbers.\n\nOutput: One.",
        None,
    ),
    "self-oss-instruct": (
        {
            "fingerprint": "f",
            "sha1": "s",
            "seed": "d",
            "response": "A.",
            "concepts": ["c"],
            "prompt": "p",
            "instruction": "Q?",
            "id": 1,
        },
        "Q?",
        "A.",
    ),
    "magpie-qwen2-5-coder": (
        {
            "uuid": "u",
            "model": "m",
            "instruction": "Q?",
            "response": "A.",
            "conversations": SHAREGPT,
            "task_category": "Coding",
            "difficulty": "easy",
        },
        "Q?",
        "A.",
    ),
    "real-world-swe": (PRIME, "Q?", "A."),
    "react-code-instructions": (
        {"messages": [{"role": "system", "content": "s"}, *CHAT], "model": "m", "created_at": "2024", "upvoted": True},
        "Q?",
        "A.",
    ),
    "stackexchange-question-answering": (PRIME, "Q?", "A."),
    "synthetic-code-understanding": (PRIME, "Q?", "A."),
    "sql-create-context": (
        {"text": "[INST] Write SQL:\nQ? [/INST] Here is the query: ```SELECT 1```"},
        "Write SQL:\nQ?",
        None,
    ),
    # math
    "openmath-2-math": ({"id": "1", "messages": CHAT}, "Q?", "A."),
    "numinamath-1-5": (
        {
            "problem": "Q?",
            "solution": "S.",
            "answer": "A.",
            "problem_type": "Algebra",
            "question_type": "word",
            "source": "aops",
            "synthetic": False,
        },
        "Q?",
        "A.",
    ),
    "mathpile": ({"text": "A theorem."}, "A theorem.", None),
    "metamath-aime": ({"instruction_seed": "Q?", "deepseek_solution": "A."}, "Q?", None),
    "automathtext": ({"url": "u", "text": "A lecture.", "date": "2020", "meta": "{}"}, "A lecture.", None),
    "deepmath": (
        {"question": "Q?", "final_answer": "A.", "difficulty": 5.5, "topic": "t", "r1_solution_1": "long"},
        "Q?",
        "A.",
    ),
    "mathinstruct": ({"source": "CoT", "instruction": "Q?", "output": "A."}, "Q?", "A."),
    "named-math-formulas": (
        {"name": "Pythagorean Thm.", "formula": "$c^2=b^2+a^2$"},
        "Pythagorean Thm.: $c^2=b^2+a^2$",
        None,
    ),
    "openmathinstruct-2": (
        {"problem": "Q?", "generated_solution": "S.", "expected_answer": "A.", "problem_source": "math"},
        "Q?",
        "A.",
    ),
    "hendrycks-math-mc": ({"problem": "Q?", "level": "Level 5"}, "Q?", None),
    "natural-reasoning": (
        {"question": "Q?", "reference_answer": "A.", "responses": [{"response_model": "m", "response": "r"}]},
        "Q?",
        "A.",
    ),
    "big-math": (
        {"problem": "Q?", "answer": "A.", "source": "s", "domain": ["d"], "llama8b_solve_rate": 0.5},
        "Q?",
        "A.",
    ),
    "math-plus": ({"instruction": "Q?", "output": "A."}, "Q?", "A."),
    "math-instruct": ({"instruction": "Add them.", "input": "1, 2", "output": "A."}, "Add them.\n\n1, 2", "A."),
    "infinitymath": ({"instruction": "Q?", "output": "A."}, "Q?", None),
    "maths-college": ({"instruction": "Q?", "output": "A."}, "Q?", "A."),
    "openmathinstruct-2-aime": ({"instruction_seed": "Q?", "deepseek_solution": "A."}, "Q?", None),
    "metamath-gpt-4o-mini": ({"question": "Q?", "answer": "A."}, "Q?", "A."),
    "math-qa": (
        {"Problem": "Q?", "Rationale": "R.", "options": "a ) 1 , b ) 2", "correct": "b", "category": "general"},
        "Q?\n\na ) 1 , b ) 2",
        "b",
    ),
    "deepmind-mathematics": (BYTES, "Expand (x + 1)**2.", None),
    "lap1official-math": ({"question": "Q?", "answer": "A."}, "Q?", None),
    # science
    "organic-chemistry": (
        {"domain": "Organic chemistry", "problem": "Q?", "matched_solution": "A.", "extracted_solution": "S."},
        "Q?",
        "A.",
    ),
    "cqadupstack-physics": ({"_id": "1", "title": "T", "text": "Body."}, "T\n\nBody.", None),
    "camel-physics": (CAMEL, "Q?", "A."),
    "fineweb-science": ({"text": "A page.", "url": "u", "score": 0.9}, "A page.", None),
    "arxiv-biology": ({"id": "1", "title": "t", "abstract": "We show."}, "We show.", None),
    "wikipedia-field-of-science": ({"text": "An article.", "label": ["biology"]}, "An article.", None),
    "wikipedia-biology": ({"title": "t", "text": "An article."}, "An article.", None),
    "camel-chemistry": (CAMEL, "Q?", "A."),
    "biology-standardized": (
        {"message": "Q?", "message_type": "input", "message_id": 0, "conversation_id": 1},
        "Q?",
        None,
    ),
    "camel-biology": (CAMEL, "Q?", "A."),
    "pubmed-qa": ({"rendered_input": "Q?", "rendered_output": "A.", "template_name": "n"}, "Q?", "A."),
    "kaggle-science-exam": (
        {"id": 0, "prompt": "Q?", "A": "a", "B": "b", "C": "c", "D": "d", "E": "e", "answer": "D"},
        "Q?\n\nA. a\nB. b\nC. c\nD. d\nE. e",
        "D",
    ),
}
