"""A user's message put together from instruction and a row's own texts, which become its passages."""

from harness.records import Message, Passage


def user_message(head: str, *own: tuple[str, str]) -> tuple[tuple[Message, ...], tuple[Passage, ...]]:
    """The messages and passages of a request that is one user message: `head`, then each own text with what stands
    behind it.

    `user_message("Q: ", (question, " A: "), (answer, "\\nRight?"))` marks question and answer.
    """
    content, passages = head, []
    for text, after in own:
        passages.append(Passage(message=0, start=len(content), end=len(content) + len(text)))
        content += text + after
    return (Message(role="user", content=content),), tuple(passages)
