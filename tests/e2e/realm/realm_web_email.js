// realm-web: checks that need an address and a password. The tools are realm_web.js's.

kit.emailSuite = ({ newApp, anew, guest, call, register, told, storage }) => {
  const { check, email, equal, ok, operator, rejected, requests, seen, types, PASSWORD } = kit;
  const { app: id } = kit.config;
  const R = kit.sdk;

  const EMAIL_LOGIN = ["POST {a}/auth/providers/local-userpass/login -", "GET /auth/profile A"];
  const LINK = "POST {a}/auth/providers/local-userpass/login?link=true A";

  const byEmail = (address, password = PASSWORD) => R.Credentials.emailPassword(address, password);

  async function linked() {
    const [app, user] = await guest();
    const address = email();
    await register(app, address);
    await user.linkCredentials(byEmail(address));
    await requests();
    return [app, user, address];
  }

  check("18", "the same address logs in twice", async () => {
    const app = newApp();
    const address = email();
    await register(app, address);
    const user = await app.logIn(byEmail(address));
    await requests();
    const again = await app.logIn(byEmail(address));
    ok(again === user, "it is another object");
    equal(await seen(), EMAIL_LOGIN);
    equal(Object.keys(app.allUsers), [user.id]);
    equal([types(user.identities), user.profile.email], [["local-userpass"], address]);
    equal((await operator("facts", user.id)).is_guest, false);
  });

  check("19 21", "a guest keeps the account by an address, and comes back with it", async () => {
    const [app, user] = await guest();
    const address = email();
    const { id: before, accessToken, refreshToken } = user;
    await register(app, address);
    await requests();
    await user.linkCredentials(byEmail(address));

    const [link, profile, ...others] = await requests();
    equal(others, []);
    equal([link.path, link.query], [`/api/client/v2.0/app/${id}/auth/providers/local-userpass/login`, "link=true"]);
    equal([link.bearer, link.status], [accessToken, 200]);
    equal([profile.method, profile.path, profile.bearer], ["GET", "/api/client/v2.0/auth/profile", user.accessToken]);
    equal(user.id, before);
    equal(types(user.identities), ["anon-user", "local-userpass"]);
    equal(user.profile.email, address);
    ok(user.accessToken !== accessToken, "the access token is the old one");
    equal(user.refreshToken, refreshToken);
    equal((await operator("facts", before)).is_guest, false);
    await user.refreshCustomData();

    await user.logOut();
    const again = await app.logIn(byEmail(address));
    equal([again.id, types(again.identities)], [before, ["anon-user", "local-userpass"]]);
    storage().clear("");
    const elsewhere = await newApp().logIn(byEmail(address.toUpperCase()));
    equal(elsewhere.id, before);
  });

  check("20", "a user who is not the current one is linked", async () => {
    const [app, first] = await guest();
    const second = await anew(app);
    const address = email();
    const { accessToken } = first;
    await register(app, address);
    await requests();
    await first.linkCredentials(byEmail(address));

    const [link] = await requests();
    equal(link.bearer, accessToken);
    await second.refreshProfile();
    equal([types(first.identities), types(second.identities)], [["anon-user", "local-userpass"], ["anon-user"]]);
  });

  check("22", "an address of somebody else", async () => {
    const [app, user] = await guest();
    const address = email();
    await register(app, address);
    await app.logIn(byEmail(address));
    await requests();
    const error = await rejected(user.linkCredentials(byEmail(address)));

    equal(told(error), [409, "AccountNameInUse", "a user already exists with the specified provider"]);
    equal(await seen(), [LINK], "what a refused link asks");
    await user.refreshProfile();
    equal([user.state, types(user.identities)], ["active", ["anon-user"]]);
    equal((await operator("facts", user.id)).is_guest, true);
  });

  check("22", "a wrong password, an address that nobody registered", async () => {
    const [app, user] = await guest();
    const address = email();
    await register(app, address);
    await requests();
    for (const credentials of [byEmail(address, "wrong horse 1"), byEmail(email())]) {
      const error = await rejected(user.linkCredentials(credentials));
      equal(told(error), [400, "InvalidPassword", "invalid username/password"]);
      equal(await seen(), [LINK]);
    }
    const error = await rejected(app.logIn(byEmail(address, "wrong horse 1")));
    equal(told(error), [401, "InvalidPassword", "invalid username/password"]);
    equal(await seen(), [EMAIL_LOGIN[0]]);
    equal(user.state, "active");
    await user.refreshProfile();
    equal(types(user.identities), ["anon-user"]);
  });

  check("23 24", "a second address is refused, the same one again does nothing", async () => {
    const [app, user, address] = await linked();
    const second = email();
    await register(app, second);
    await requests();
    const error = await rejected(user.linkCredentials(byEmail(second)));
    equal(told(error), [
      400,
      "BadRequest",
      "linking a local-userpass identity is not allowed when one is already linked",
    ]);
    equal(await seen(), [LINK]);

    await user.linkCredentials(byEmail(address));
    equal(await seen(), [LINK, "GET /auth/profile A"]);
    equal([types(user.identities), user.profile.email], [["anon-user", "local-userpass"], address]);
  });

  check("25 26", "what cannot be registered", async () => {
    const [app, user] = await guest();
    const address = email();
    await register(app, address);
    equal(told(await rejected(register(app, address))), [409, "AccountNameInUse", "name already in use"]);
    for (const length of [5, 129]) {
      const error = await rejected(register(app, email(), "x".repeat(length)));
      equal(told(error), [400, "BadRequest", "password must be between 6 and 128 characters"]);
    }
    equal((await seen()).length, 4);
    equal(user.state, "active");
  });

  check("27 28 29", "an address is confirmed by mail", async () => {
    await operator("auto_confirm", false);
    try {
      const [app, user] = await guest();
      const address = email();
      await register(app, address);
      const login = await rejected(app.logIn(byEmail(address)));
      equal(told(login), [401, "AuthError", "confirmation required"]);
      const link = await rejected(user.linkCredentials(byEmail(address)));
      equal(told(link), [400, "AuthError", "confirmation required"]);
      const junk = await rejected(call(app, "confirmUser", { token: "junk", tokenId: "junk" }));
      equal(told(junk), [400, "BadRequest", "invalid token data"]);

      const unknown = email();
      await call(app, "resendConfirmationEmail", { email: unknown }); // who has an address is nobody's business
      equal(await operator("is_mailed", unknown), false);
      await call(app, "confirmUser", await operator("mailed", address));
      const again = await rejected(call(app, "resendConfirmationEmail", { email: address }));
      equal(told(again), [400, "UserAlreadyConfirmed", "already confirmed"]);
      await user.linkCredentials(byEmail(address));
      equal(types(user.identities), ["anon-user", "local-userpass"]);
    } finally {
      await operator("auto_confirm", true);
    }
  });

  check("28", "a password is reset by mail", async () => {
    const [app, user, address] = await linked();
    const junk = { token: "junk", tokenId: "junk", password: "another horse 2" };
    equal(told(await rejected(call(app, "resetPassword", junk))), [400, "BadRequest", "invalid token data"]);
    await call(app, "sendResetPasswordEmail", { email: email() });
    await call(app, "sendResetPasswordEmail", { email: address });
    await call(app, "resetPassword", { ...(await operator("mailed", address)), password: "another horse 2" });

    const other = newApp();
    equal(told(await rejected(other.logIn(byEmail(address))))[1], "InvalidPassword");
    equal((await other.logIn(byEmail(address, "another horse 2"))).id, user.id);
  });

  if (R.App.prototype.deleteUser) {
    check("30", "who deletes the account cannot log in", async () => {
      const [app, user, address] = await linked();
      await app.deleteUser(user);
      const [deletion, logOut, ...others] = await requests();
      equal(others, []);
      equal([deletion.method, deletion.kind, deletion.status, deletion.type], ["DELETE", "A", 204, null]);
      equal([logOut.method, logOut.kind, JSON.parse(logOut.answer).error_code], ["DELETE", "R", "InvalidSession"]);
      equal([user.state, app.currentUser], ["removed", null]);
      const error = await rejected(app.logIn(byEmail(address)));
      equal(told(error), [401, "InvalidPassword", "invalid username/password"]);
      await register(app, address); // the address is free again
    });

    check("31", "a guest deletes itself", async () => {
      const [app, user] = await guest();
      const { refreshToken } = user;
      await app.deleteUser(user);
      equal(await operator("facts", user.id), null);
      const { status, body } = await kit.http("POST", "/auth/session", refreshToken);
      equal([status, body.error_code], [401, "InvalidSession"]);
    });
  }
};
