"""What a guestbook keeps. Authors are ordinary rows of AUTH_USER_MODEL; that most are guests changes nothing."""

from typing import Any

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _

TEXT_MAX = 500
PAGE = 50
TINTS = 8  # colours that the style sheet has for the authors' initials


class CommentQuerySet(models.QuerySet["Comment"]):
    def newest(self) -> "CommentQuerySet":
        """The newest comments with all that their page shows of the authors, in one statement."""
        return self.select_related("author__end_user__anonymous_identity").order_by("-id")[:PAGE]


class Comment(models.Model):
    """One entry of the guestbook. It goes when its author goes."""

    author = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="guestbook_comments")
    text = models.CharField(max_length=TEXT_MAX)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = CommentQuerySet.as_manager()

    class Meta:
        verbose_name = _("comment")
        verbose_name_plural = _("comments")

    def __str__(self) -> str:
        return f"{self.author_name}: {self.text[:40]}"

    @property
    def author_code(self) -> str:
        """Four hex digits of the author's `sub`: enough to tell people apart, too little to be used as an id."""
        end_user: Any = getattr(self.author, "end_user", None)
        return end_user.id.hex[:4] if end_user else ""

    @property
    def author_name(self) -> str:
        """How the author is called in public, e.g. `Guest 1a2b`."""
        end_user: Any = getattr(self.author, "end_user", None)
        if end_user is None:
            return str(_("Staff"))
        return f"{_('Guest') if end_user.is_guest else _('Member')} {self.author_code}"

    @property
    def tint(self) -> int:
        """Which of the style sheet's colours the author has: always the same one."""
        return int(self.author_code or "0", 16) % TINTS
