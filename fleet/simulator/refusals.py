"""Everything the cloud can say no with: status, code and the body shape of whoever says it.

ModelArts, the gateway in front of it and IAM answer in three different shapes ("Error Codes" page,
gateway error pages, keystone). Most ModelArts refusals are a plain 400, a missing notebook included.
"""

from __future__ import annotations

from fleet.simulator.messages import Reply, to_json


class Refusal(Exception):
    """A call is not carried out; ``code`` is the vendor's."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status

    def reply(self, request_id: str) -> Reply:
        """The refusal in the body shape of the part of the cloud that its code belongs to."""
        body: dict[str, object]
        if self.code.startswith("IAM."):
            title = {401: "Unauthorized", 403: "Forbidden"}.get(self.status, "Bad Request")
            body = {"error": {"code": self.status, "message": self.message, "title": title}}
        else:
            body = {"error_code": self.code, "error_msg": self.message}
            if self.code.startswith("APIGW."):
                body["request_id"] = request_id
        return Reply(self.status, to_json(body))


def bad_parameter(message: str) -> Refusal:
    return Refusal("ModelArts.0104", message)


def missing_parameter(name: str) -> Refusal:
    return Refusal("ModelArts.0107", f"The parameter {name} is missing.")


def bad_character(field: str) -> Refusal:
    return Refusal("ModelArts.6334", f"The {field} contains a character that is not allowed.")


def busy(name: str) -> Refusal:
    return Refusal(
        "ModelArts.6357",
        "The operation is not allowed because another operation is being performed on the "
        f"instance {name} or the instance is in the target state.",
    )


def wrong_state(status: str, field: str) -> Refusal:
    return Refusal("ModelArts.6347", f'When the status is "{status}", "{field}" cannot be modified.')


def frozen() -> Refusal:
    return Refusal("ModelArts.6326", "The instance is frozen.")


def sold_out(flavor: str, code: str) -> Refusal:
    return Refusal(code, f"The flavor {flavor} is sold out.")


def quota_reached() -> Refusal:
    return Refusal("ModelArts.0113", "The number of instances has reached the quota.")


def image_unusable(image: str, status: str) -> Refusal:
    return Refusal("ModelArts.6797", f"The image {image} cannot be used: its status is {status}.")


def bad_signature(detail: str) -> Refusal:
    return Refusal("APIGW.0301", f"Incorrect IAM authentication information: {detail}", 401)


def iam_unauthorized(message: str) -> Refusal:
    return Refusal("IAM.401", message, 401)


def iam_bad_request(message: str) -> Refusal:
    return Refusal("IAM.400", message, 400)


def not_published() -> Refusal:
    return Refusal("APIGW.0101", "The API does not exist or has not been published in the environment", 404)
