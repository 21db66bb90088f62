"""What every heading of settings is made of, and where a value may have come from."""

from enum import StrEnum

from pydantic import ValidationInfo, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from executor.config import kinds


class Origin(StrEnum):
    """Where a setting's value came from; the first that has it wins."""

    ENVIRONMENT = "environment"
    ENV_FILE = "env file"
    SECRETS_FILE = "secrets file"
    DEFAULT = "default"


class Group(BaseSettings):
    """A heading's settings. Values come through the constructor alone: `load_settings` does the reading."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=str.upper,
        case_sensitive=True,
        enable_decoding=False,
        env_ignore_empty=True,
        hide_input_in_errors=True,
    )

    @field_validator("*", mode="before")
    @classmethod
    def _plainly_written(cls, value: object, info: ValidationInfo) -> object:
        """Python takes 1_5 for 15, where a point may have been meant, and the digits of any script."""
        odd = isinstance(value, str) and ("_" in value or not value.strip().isascii())
        if odd and kinds.is_number(cls.model_fields[info.field_name or ""]):
            raise ValueError("a number has digits from 0 to 9, and a point")
        return value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003  the library hands over all five
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)
